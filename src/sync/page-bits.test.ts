import { strict as assert } from "node:assert";
import { test } from "node:test";
import { Prng } from "../base/prng.ts";
import { PageBits } from "./page-bits.ts";

test("page bits do what a plain set does", () => {
  for (let seed = 1; seed <= 30; seed++) {
    const prng = new Prng(seed);
    const bits = new PageBits();
    const plain = new Set<number>();
    for (let step = 0; step < 400; step++) {
      const page = prng.integer(1, seed % 2 === 0 ? 200 : 20_000);
      const choice = prng.integer(0, 12);
      if (choice < 7) {
        bits.add(page);
        plain.add(page);
      } else if (choice < 9) {
        bits.delete(page);
        plain.delete(page);
      } else if (choice === 9) {
        bits.deleteAbove(page);
        for (const other of plain) if (other > page) plain.delete(other);
      } else if (choice === 10) {
        bits.addRange(page, page + 70);
        for (let other = page; other < page + 70; other++) plain.add(other);
      } else {
        const wanted = [...plain].toSorted((x, y) => x - y).slice(0, page % 40);
        assert.deepEqual([...bits.take(page % 40)], wanted);
        for (const other of wanted) plain.delete(other);
      }
      assert.equal(bits.size, plain.size);
      assert.equal(bits.has(page), plain.has(page));
    }
  }
});
