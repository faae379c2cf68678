/** A raw Hrana stream for tests: one request of any number of statements at a time, with its baton kept. */

export type Answered = {
  /** Rows as plain values; undefined for a statement that failed. */
  readonly rows?: readonly (readonly unknown[])[] | undefined;
  readonly code?: string | undefined;
  readonly extended?: string | undefined;
  readonly message?: string | undefined;
};

type Wire = {
  readonly baton?: string | null;
  readonly code?: string;
  readonly message?: string;
  readonly results?: readonly {
    readonly response?: { readonly result?: { readonly rows?: readonly { value?: unknown }[][] } };
    readonly error?: { code: string; message: string; extended_code?: string };
  }[];
};

export class HranaStream {
  readonly #url: string;
  readonly #headers: Readonly<Record<string, string>>;
  #baton: string | undefined;

  constructor(url: string, headers: Readonly<Record<string, string>> = {}) {
    this.#url = url;
    this.#headers = headers;
  }

  /** All of them in one request. */
  async all(...sql: string[]): Promise<readonly Answered[]> {
    const requests = sql.map((text) => ({ type: "execute", stmt: { sql: text } }));
    const response = await fetch(`${this.#url}/v2/pipeline`, {
      method: "POST",
      headers: { "content-type": "application/json", ...this.#headers },
      body: JSON.stringify({ baton: this.#baton, requests }),
      signal: AbortSignal.timeout(20_000),
    });
    const wire = (await response.json()) as Wire;
    if (response.status !== 200) {
      this.#baton = undefined;
      return sql.map(() => ({ code: wire.code, message: wire.message }));
    }
    this.#baton = wire.baton ?? undefined;
    return wire.results!.map(({ response: answer, error }) => ({
      rows: answer?.result?.rows?.map((row) => row.map(({ value }) => value)),
      ...(error && {
        code: error.code,
        message: error.message,
        extended: error.extended_code,
      }),
    }));
  }

  async one(sql: string): Promise<Answered> {
    return (await this.all(sql))[0]!;
  }

  /** "ok", or the most precise code there is. */
  async said(sql: string): Promise<string> {
    const { code, extended } = await this.one(sql);
    return extended ?? code ?? "ok";
  }

  async close(): Promise<void> {
    const body = JSON.stringify({ baton: this.#baton, requests: [{ type: "close" }] });
    this.#baton = undefined;
    await fetch(`${this.#url}/v2/pipeline`, { method: "POST", body });
  }
}
