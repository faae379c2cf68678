/**
 * Tables for people: columns as wide as they need to be, numbers to the right, no lines but one under the head.
 *
 * Widths count what a terminal shows: control characters are made visible, wide characters (CJK, emoji) take two
 * columns. Not here: colours; a table must survive a pipe and a mail.
 */

export type TableOptions = {
  /** Columns to align to the right, by index. */
  readonly right: readonly number[];
  /** Longest text of a cell, in columns; longer ones are cut and end in "…". */
  readonly cellMax: number;
};

/** Lines of a table without a newline at their ends. */
export function formatTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  options: Partial<TableOptions> = {},
): string[] {
  const cellMax = options.cellMax ?? 60;
  const right = new Set(options.right ?? []);
  const cells = [head, ...rows].map((row) =>
    head.map((_, i) => cut(visible(row[i] ?? ""), cellMax)),
  );
  const widths = head.map((_, i) => Math.max(...cells.map((row) => widthOf(row[i]!))));
  const lines = cells.map((row) =>
    row
      .map((cell, i) => {
        const space = " ".repeat(widths[i]! - widthOf(cell));
        return right.has(i) ? space + cell : cell + space;
      })
      .join("  ")
      .trimEnd(),
  );
  const rule = widths.map((width) => "─".repeat(width)).join("  ");
  lines.splice(1, 0, rule.trimEnd());
  return lines;
}

function visible(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: making them visible is the point.
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (c) =>
    c === "\n" ? "⏎" : c === "\t" ? "⇥" : `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}

function cut(text: string, max: number): string {
  if (text.length <= max && widthOf(text) <= max) return text;
  let width = 0;
  let kept = "";
  for (const c of text) {
    width += widthOf(c);
    if (width > max - 1) break;
    kept += c;
  }
  return `${kept}…`;
}

/** Columns that a terminal needs for the text. */
function widthOf(text: string): number {
  let width = 0;
  for (const c of text) width += isWide(c) ? 2 : isCombining(c) ? 0 : 1;
  return width;
}

/** The ranges of Unicode's East Asian Width that matter, and pictures. */
const wide = new RegExp(
  "[\\u1100-\\u115f\\u2e80-\\ua4cf\\uac00-\\ud7a3\\uf900-\\ufaff\\ufe30-\\ufe6f" +
    "\\uff00-\\uff60\\uffe0-\\uffe6]|\\p{Emoji_Presentation}",
  "u",
);

function isWide(c: string): boolean {
  return wide.test(c);
}

function isCombining(c: string): boolean {
  return /\p{Mn}|\u200d|\ufe0f/u.test(c);
}
