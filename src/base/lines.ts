/**
 * Lines in a stream of bytes that comes in chunks of any size.
 */

const newline = 0x0a;

/** The first line, without its end, and everything behind it. To be read once. */
export async function firstLine(
  chunks: AsyncIterable<Uint8Array>,
): Promise<{ readonly line: string; readonly rest: AsyncGenerator<Uint8Array, void, void> }> {
  const iterator = chunks[Symbol.asyncIterator]();
  const before: Uint8Array[] = [];
  for (;;) {
    const { done, value } = await iterator.next();
    const at = done === true ? -1 : value.indexOf(newline);
    if (done !== true && at < 0) {
      before.push(value);
      continue;
    }
    if (done !== true) before.push(value.subarray(0, at));
    const line = Buffer.concat(before).toString();
    return { line, rest: restOf(iterator, done === true ? undefined : value.subarray(at + 1)) };
  }
}

async function* restOf(
  iterator: AsyncIterator<Uint8Array>,
  first: Uint8Array | undefined,
): AsyncGenerator<Uint8Array, void, void> {
  try {
    if (first !== undefined && first.byteLength > 0) yield first;
    for (;;) {
      const { done, value } = await iterator.next();
      if (done === true) return;
      yield value;
    }
  } finally {
    await iterator.return?.();
  }
}

/** Line by line, without their ends. */
export async function* linesOf(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<string, void, void> {
  let before: Uint8Array[] = [];
  for await (const chunk of chunks) {
    let from = 0;
    for (let at = chunk.indexOf(newline); at >= 0; at = chunk.indexOf(newline, from)) {
      before.push(chunk.subarray(from, at));
      yield Buffer.concat(before).toString();
      before = [];
      from = at + 1;
    }
    if (from < chunk.byteLength) before.push(chunk.subarray(from));
  }
  if (before.length > 0) yield Buffer.concat(before).toString();
}
