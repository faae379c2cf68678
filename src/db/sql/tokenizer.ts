/**
 * Reads SQL text as SQLite's own tokenizer does (tokenize.c), as far as one must know it without a parser: where a
 * statement ends, which parameters it has, and which words it begins with.
 *
 * It never decides whether a statement is valid: what it does not understand it passes on, and SQLite says why it is
 * wrong. Text beyond a NUL is invisible to SQLite, so callers refuse SQL that holds one.
 *
 * Not here: what the first words mean (classify.ts).
 */

type TokenKind = "word" | "string" | "quoted" | "number" | "parameter" | "symbol" | "end";

/** One parameter slot of a statement. `name` has its prefix (`:a`, `?3`); undefined for a bare `?`. */
export type Parameter = { readonly name: string | undefined; readonly used: boolean };

export type Statement = {
  /** Without the closing semicolon and what surrounds it; comments inside stay. */
  readonly text: string;
  /** With both: what SQLite is given, whose names of columns and errors go by it. */
  readonly whole: string;
  /** The first tokens, EXPLAIN left out: words in upper case, quoted names as they are meant. At most 8. */
  readonly head: readonly string[];
  /** `EXPLAIN` or `EXPLAIN QUERY PLAN` stands in front. */
  readonly explain: boolean;
  /** For a statement that begins with WITH: the word behind the common table expressions. */
  readonly verbAfterWith: string | undefined;
};

const headTokensMax = 8;

/** Splits a script into its statements. Empty statements and comments yield nothing. */
export function parseScript(sql: string): Statement[] {
  const scanner = new Scanner(sql);
  const statements: Statement[] = [];
  let start = 0;
  scanner.next();
  while (scanner.kind !== "end") {
    const { end, statement } = parseStatement(scanner, sql, start);
    if (statement !== undefined) statements.push(statement);
    start = end;
  }
  return statements;
}

/**
 * Parameters of one statement in index order: slot i is parameter i + 1. `SELECT ?3` has three slots, two of them
 * unused; `?32766` has as many as SQLite allows, so this is asked only for what is going to be run.
 */
export function parametersOf(statement: string): Parameter[] {
  const scanner = new Scanner(statement);
  const slots = new ParameterSlots();
  for (scanner.next(); scanner.kind !== "end"; scanner.next()) {
    if (scanner.kind === "parameter") slots.add(statement.slice(scanner.from, scanner.to));
  }
  return slots.list();
}

/** The statement with calls without arguments renamed, as `names` says by lower-case name. */
export function renameCalls(statement: string, names: Readonly<Record<string, string>>): string {
  let text = "";
  let from = 0;
  for (const { name, at, end } of plainCalls(statement)) {
    const renamed = names[name];
    if (renamed === undefined) continue;
    text += statement.slice(from, at) + renamed;
    from = end;
  }
  return text + statement.slice(from);
}

/** Calls without arguments: the function's name in lower case, and where it stands. */
export function* plainCalls(
  statement: string,
): Generator<{ readonly name: string; readonly at: number; readonly end: number }> {
  const scanner = new Scanner(statement);
  /** The last three tokens, the last one last. */
  let before: Token[] = [];
  for (scanner.next(); scanner.kind !== "end"; scanner.next()) {
    const token = statement.slice(scanner.from, scanner.to);
    before = [...before.slice(-2), { kind: scanner.kind, text: token, at: scanner.from }];
    const [called, open, close] = before;
    if (open?.text !== "(" || close?.text !== ")" || called === undefined) continue;
    if (called.kind === "symbol") continue;
    const name = called.kind === "quoted" ? unquote(called.text) : called.text;
    yield { name: name.toLowerCase(), at: called.at, end: called.at + called.text.length };
  }
}

type Token = { readonly kind: TokenKind; readonly text: string; readonly at: number };

/**
 * Reads up to and including the next semicolon; the text begins at `start` and goes on from `end`. The scanner stands
 * on the first token of what follows then.
 */
function parseStatement(
  scanner: Scanner,
  sql: string,
  start: number,
): { readonly end: number; readonly statement: Statement | undefined } {
  const from = scanner.from;
  const words = new StatementWords();
  let to = from;
  let end = sql.length;
  for (; scanner.kind !== "end"; scanner.next()) {
    const text = sql.slice(scanner.from, scanner.to);
    if (text === ";" && scanner.kind === "symbol" && words.endsAtSemicolon()) {
      end = scanner.to;
      scanner.next();
      break;
    }
    words.add(scanner.kind, text);
    to = scanner.to;
  }
  if (to === from) return { end, statement: undefined };
  const { head, explain, verbAfterWith } = words;
  const text = sql.slice(from, to);
  const statement = { text, whole: sql.slice(start, end), head, explain, verbAfterWith };
  return { end, statement };
}

/** Follows the words of one statement. A trigger's body holds semicolons; it ends with `; END` [complete.c]. */
class StatementWords {
  readonly head: string[] = [];
  explain = false;
  verbAfterWith: string | undefined;
  /** Parentheses open at this point. */
  #depth = 0;
  /** The token before, in upper case. */
  #last = "";
  /** Where we are in a trigger's body; "none" for every other statement. */
  #trigger: "none" | "body" | "after-semicolon" | "after-end" = "none";

  endsAtSemicolon(): boolean {
    return this.#trigger === "none" || this.#trigger === "after-end";
  }

  add(kind: TokenKind, text: string): void {
    const plain = kind === "word" ? text.toUpperCase() : text;
    this.#followHead(kind, plain);
    this.#followTrigger(plain);
    this.#followWith(kind, plain);
    this.#last = plain;
  }

  #followHead(kind: TokenKind, plain: string): void {
    if (this.head.length === 0 && kind === "word") {
      if (plain === "EXPLAIN" && !this.explain) {
        this.explain = true;
        return;
      }
      if (this.explain && (plain === "QUERY" || (plain === "PLAN" && this.#last === "QUERY"))) {
        return;
      }
    }
    if (this.head.length >= headTokensMax) return;
    this.head.push(kind === "quoted" || kind === "string" ? unquote(plain) : plain);
    if (kind !== "word" || plain !== "TRIGGER" || this.head[0] !== "CREATE") return;
    const at = this.head.length - 1;
    const isTemporary = this.head[1] === "TEMP" || this.head[1] === "TEMPORARY";
    if (at === 1 || (at === 2 && isTemporary)) this.#trigger = "body";
  }

  #followTrigger(plain: string): void {
    if (this.#trigger === "none") return;
    if (plain === ";") this.#trigger = "after-semicolon";
    else if (plain === "END" && this.#trigger === "after-semicolon") this.#trigger = "after-end";
    else this.#trigger = "body";
  }

  #followWith(kind: TokenKind, plain: string): void {
    if (this.head[0] !== "WITH" || this.verbAfterWith !== undefined) return;
    if (kind === "symbol" && plain === "(") this.#depth++;
    if (kind === "symbol" && plain === ")") this.#depth--;
    if (kind !== "word" || this.#depth !== 0 || this.#last !== ")") return;
    if (plain !== "AS") this.verbAfterWith = plain;
  }
}

/** Gives parameters their indexes by SQLite's rules [expr.c, sqlite3ExprAssignVarNumber]. */
const gap: Parameter = { name: undefined, used: false };

class ParameterSlots {
  readonly #slots: ({ name: string | undefined } | undefined)[] = [];
  readonly #indexByName = new Map<string, number>();

  add(text: string): void {
    if (text === "?") {
      this.#slots.push({ name: undefined });
      return;
    }
    const number = text.startsWith("?") ? Number(text.slice(1)) : undefined;
    if (number === undefined) {
      if (this.#indexByName.has(text)) return;
      this.#slots.push({ name: text });
      this.#indexByName.set(text, this.#slots.length);
      return;
    }
    // SQLite refuses numbers beyond its limit; there is no need to grow an array for it here.
    if (number < 1 || number > 32_766) return;
    while (this.#slots.length < number) this.#slots.push(undefined);
    if (this.#slots[number - 1]?.name === undefined) this.#slots[number - 1] = { name: text };
  }

  list(): Parameter[] {
    return this.#slots.map((slot) => (slot === undefined ? gap : { ...slot, used: true }));
  }
}

/** Walks over the tokens of a text. Space and comments are skipped; [from, to) is the current token. */
class Scanner {
  readonly #sql: string;
  kind: TokenKind = "end";
  from = 0;
  to = 0;

  constructor(sql: string) {
    this.#sql = sql;
  }

  next(): void {
    const sql = this.#sql;
    let at = skipBlank(sql, this.to);
    this.from = at;
    if (at >= sql.length) {
      this.kind = "end";
      this.to = at;
      return;
    }
    const c = sql.charCodeAt(at);
    if ((c === 0x78 || c === 0x58) && sql.charCodeAt(at + 1) === 0x27) {
      const end = sql.indexOf("'", at + 2); // x'…', where no quote stands for itself
      this.#set("string", end < 0 ? sql.length : end + 1);
    } else if (isDigit(c) || (c === 0x2e && isDigit(sql.charCodeAt(at + 1)))) {
      while (isWordCode(sql.charCodeAt(at)) || sql.charCodeAt(at) === 0x2e) at++;
      this.#set("number", at);
    } else if (c === 0x24 || c === 0x3a || c === 0x40 || c === 0x23) {
      this.#parameter(at); // $ : @ #
    } else if (isWordCode(c)) {
      while (isWordCode(sql.charCodeAt(at))) at++;
      this.#set("word", at);
    } else if (c === 0x27) {
      this.#set("string", endOfQuoted(sql, at, 0x27));
    } else if (c === 0x22 || c === 0x60) {
      this.#set("quoted", endOfQuoted(sql, at, c));
    } else if (c === 0x5b) {
      const end = sql.indexOf("]", at);
      this.#set("quoted", end < 0 ? sql.length : end + 1);
    } else if (c === 0x3f) {
      at++;
      while (isDigit(sql.charCodeAt(at))) at++;
      this.#set("parameter", at);
    } else {
      this.#set("symbol", at + 1);
    }
  }

  /** `:a`, `@a`, `$a`, `$a::b(c)`. A prefix without a name is no parameter. */
  #parameter(from: number): void {
    const sql = this.#sql;
    let at = from + 1;
    let length = 0;
    for (;;) {
      const c = sql.charCodeAt(at);
      if (isWordCode(c)) {
        length++;
        at++;
      } else if (c === 0x3a && sql.charCodeAt(at + 1) === 0x3a) {
        at += 2;
      } else if (c === 0x28 && length > 0) {
        const suffix = /\([^)\t-\r ]*\)/y;
        suffix.lastIndex = at;
        if (suffix.test(sql)) at = suffix.lastIndex;
        break;
      } else {
        break;
      }
    }
    this.#set(length > 0 ? "parameter" : "symbol", at);
  }

  #set(kind: TokenKind, to: number): void {
    this.kind = kind;
    this.to = to;
  }
}

/** Space, byte order marks and comments [tokenize.c, CC_SPACE, CC_BOM, CC_MINUS, CC_SLASH]. */
function skipBlank(sql: string, at: number): number {
  for (;;) {
    const c = sql.charCodeAt(at);
    if (isSpace(c)) {
      at++;
      // A vertical tab goes on with white space; it does not begin it.
      while (isSpace(sql.charCodeAt(at)) || sql.charCodeAt(at) === 0x0b) at++;
    } else if (c === byteOrderMark) {
      at++;
    } else if (c === 0x2d && sql.charCodeAt(at + 1) === 0x2d) {
      const end = sql.indexOf("\n", at);
      if (end < 0) return sql.length;
      at = end;
    } else if (c === 0x2f && sql.charCodeAt(at + 1) === 0x2a && at + 2 < sql.length) {
      const end = sql.indexOf("*/", at + 2);
      if (end < 0) return sql.length;
      at = end + 2;
    } else {
      return at;
    }
  }
}

/** In front of a token it is white space; inside a word, a letter like everything beyond ASCII. */
const byteOrderMark = 0xfeff;

function isSpace(c: number): boolean {
  return c === 0x20 || (c >= 0x09 && c <= 0x0d && c !== 0x0b);
}

/** End of a quoted token that starts at `at`; a doubled quote stands for itself. Unclosed: the rest of the text. */
function endOfQuoted(sql: string, at: number, quote: number): number {
  const mark = String.fromCharCode(quote);
  let from = at + 1;
  for (;;) {
    const end = sql.indexOf(mark, from);
    if (end < 0) return sql.length;
    if (sql.charCodeAt(end + 1) !== quote) return end + 1;
    from = end + 2;
  }
}

function unquote(text: string): string {
  const open = text[0] ?? "";
  const close = open === "[" ? "]" : open;
  const inner = text.endsWith(close) ? text.slice(1, -1) : text.slice(1);
  return open === "[" ? inner : inner.replaceAll(close + close, close);
}

function isDigit(c: number): boolean {
  return c >= 0x30 && c <= 0x39;
}

/** Letters, digits, `_`, `$` and everything beyond ASCII [tokenize.c, IdChar]. */
function isWordCode(c: number): boolean {
  return (
    (c >= 0x61 && c <= 0x7a) ||
    (c >= 0x41 && c <= 0x5a) ||
    (c >= 0x30 && c <= 0x39) ||
    c === 0x5f ||
    c === 0x24 ||
    c >= 0x80
  );
}
