import assert from "node:assert/strict";
import { test } from "node:test";
import { limits } from "../../limits.ts";
import { lsn, term } from "../../vocabulary.ts";
import { post, ScriptedBackend, serve } from "../scripted-backend.test.ts";
import { makeServer } from "./http-server.ts";
import { encoded, inPieces } from "./large-answers.ts";

const query = '{"requests":[{"type":"execute","stmt":{"sql":"SELECT 1"}}]}';

test("slices are small and the text is whole, wherever characters of two units lie", () => {
  for (const shift of [0, 1]) {
    const text = "x".repeat(shift) + "\u{1f600}é".repeat(300_000);
    const slices = [...encoded([text, "", "end"])];
    assert.equal(Buffer.concat(slices).toString(), `${text}end`);
    assert.ok(slices.every((slice) => slice.byteLength <= 1_100_000));
  }
});

test("a large answer arrives whole, beside small ones", async (t) => {
  const backend = new ScriptedBackend();
  const large = JSON.stringify({ type: "ok", response: { text: "ü".repeat(3_000_000) } });
  backend.answer = () => ({
    results: [large],
    position: { lsn: lsn(1), term: term(1) },
    session: undefined,
  });
  const { url } = await serve(t, backend);
  const { text, json, type } = await post(`${url}/v3/pipeline`, query);
  assert.equal(type, "application/json");
  assert.ok(text.includes(large));
  assert.equal(json.results.length, 1);
});

test("a piece that takes long to be made is not the client's fault; one that is not taken is", async (t) => {
  const timeouts: number[] = [];
  const app = makeServer({ isFollowed: () => false, onFault: () => {} });
  t.after(() => app.close());
  app.get("/", async (_request, reply) => {
    const { raw } = reply;
    const set = raw.setTimeout.bind(raw);
    raw.setTimeout = (ms: number) => {
      timeouts.push(ms);
      return set(ms);
    };
    return inPieces(reply, ["one", Buffer.from("two")]);
  });
  const url = await app.listen({ host: "127.0.0.1", port: 0 });
  assert.equal(await (await fetch(url)).text(), "onetwo");
  const { httpStalledMs } = limits;
  assert.deepEqual(timeouts, [0, httpStalledMs, 0, httpStalledMs, 0, httpStalledMs]);
});
