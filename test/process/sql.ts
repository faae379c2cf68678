/**
 * Raw Hrana for tests: one statement per request, with the outcome sorted the way a careful client must sort it.
 */

export type Outcome =
  | {
      readonly type: "ok";
      readonly rows: readonly (readonly unknown[])[];
      readonly position: string;
    }
  /** Surely not done. */
  | { readonly type: "failed"; readonly code: string; readonly message: string }
  /** May have happened. */
  | { readonly type: "unknown"; readonly code: string; readonly message: string };

type Value = { type: string; value?: string | number; base64?: string };
type Result = {
  type: "ok" | "error";
  response?: { result?: { rows?: Value[][] } };
  error?: { code: string; message: string };
};

export type ExecuteOptions = {
  readonly headers?: Record<string, string>;
  readonly timeoutMs?: number;
};

/** Codes after which nothing was done. Anything that is neither ok nor one of these is unknown. */
const surelyNotDone = new Set([
  ...["NOT_LEADER", "NO_LEADER", "OVERLOADED", "NOT_READY", "TOO_STALE", "BAD_REQUEST"],
  ...["STATEMENT_TIMEOUT", "TRANSACTION_TIMEOUT", "SQLITE_CONSTRAINT", "SQLITE_ERROR", "BLOCKED"],
  "TRANSACTION_LOST",
]);

export async function execute(
  url: string,
  sql: string,
  args: readonly (string | number | null)[] = [],
  options: ExecuteOptions = {},
): Promise<Outcome> {
  const body = JSON.stringify({
    requests: [{ type: "execute", stmt: { sql, args: args.map(toValue) } }, { type: "close" }],
  });
  let response: Response;
  let text: string;
  try {
    response = await fetch(`${url}/v2/pipeline`, {
      method: "POST",
      body,
      headers: { "content-type": "application/json", ...options.headers },
      signal: AbortSignal.timeout(options.timeoutMs ?? 20_000),
    });
    text = await response.text();
  } catch (error) {
    const cause = (error as { cause?: { code?: string } }).cause?.code;
    const message = `${String(error)} ${cause ?? ""}`;
    if (cause === "ECONNREFUSED") return { type: "failed", code: "ECONNREFUSED", message };
    return { type: "unknown", code: "NETWORK", message };
  }
  const position = response.headers.get("paceline-position") ?? "";
  const parsed = JSON.parse(text) as { results?: Result[]; code?: string; message?: string };
  const result = parsed.results?.[0];
  if (result?.type === "ok") {
    const rows = result.response?.result?.rows ?? [];
    return { type: "ok", rows: rows.map((row) => row.map(fromValue)), position };
  }
  const code = result?.error?.code ?? parsed.code ?? `HTTP_${response.status}`;
  const message = result?.error?.message ?? parsed.message ?? text;
  return { type: surelyNotDone.has(code) ? "failed" : "unknown", code, message };
}

/** As `execute`, for statements that must succeed. */
export async function rowsOf(
  url: string,
  sql: string,
  args: readonly (string | number | null)[] = [],
  options: ExecuteOptions = {},
): Promise<readonly (readonly unknown[])[]> {
  const outcome = await execute(url, sql, args, options);
  if (outcome.type === "ok") return outcome.rows;
  throw new Error(`${sql}: ${outcome.code} ${outcome.message}`);
}

function toValue(value: string | number | null): Value {
  if (value === null) return { type: "null" };
  if (typeof value === "string") return { type: "text", value };
  if (Number.isInteger(value)) return { type: "integer", value: String(value) };
  return { type: "float", value };
}

function fromValue(value: Value): unknown {
  if (value.type === "null") return null;
  if (value.type === "integer") return Number(value.value);
  return value.type === "blob" ? value.base64 : value.value;
}
