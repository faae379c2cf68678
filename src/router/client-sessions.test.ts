import assert from "node:assert/strict";
import { test } from "node:test";
import { formatPosition, lsn, term } from "../vocabulary.ts";
import { ClientSessions } from "./client-sessions.ts";

const at = (n: number) => ({ lsn: lsn(n), term: term(1) });

test("a position never goes back", () => {
  const sessions = new ClientSessions(10);
  sessions.saw("a", at(5));
  sessions.saw("a", at(3));
  assert.equal(formatPosition(sessions.positionOf("a")), "5@1");
});

test("who is forgotten begins again with everything, and reads nothing old", () => {
  const sessions = new ClientSessions(2);
  assert.equal(sessions.positionOf("new").lsn, 0);
  sessions.saw("a", at(5));
  sessions.saw("b", at(6));
  sessions.saw("a", at(7));
  sessions.saw("c", at(9));
  assert.equal(sessions.count, 2);
  assert.equal(sessions.positionOf("a").lsn, 7, "used later than b");
  assert.equal(sessions.positionOf("b").lsn, 9, "forgotten");
});
