/** The tables of the shop, and what it sells. Safe to run again: the first run is the one that counts. */

import { createClient } from "@libsql/client";

const goods: readonly (readonly [name: string, words: string, cents: number])[] = [
  ["Bottle cage", "Holds on, also over cobbles.", 1490],
  ["Cap", "Cotton, with a short peak. For under the helmet, or for after.", 1900],
  ["Chain oil", "For wet roads. Sixty rides in a bottle.", 990],
  ["Gloves", "Half fingers, padded where it matters.", 3450],
  ["Handlebar tape", "Cork. Lasts a season, comes in eight colours.", 1790],
  ["Inner tube", "28 inches. Take two.", 690],
  ["Jersey", "Three pockets behind, one with a zip.", 7900],
  ["Mini pump", "Two hundred strokes to five bar. You will be glad of it.", 2490],
  ["Rear light", "Forty hours, seen from a kilometre.", 2990],
  ["Saddle bag", "A tube, two levers, and a note for the café.", 2190],
  ["Socks", "Tall. White, while it lasts.", 1250],
  ["Tyre levers", "Three, because one always breaks.", 590],
];

const tables = [
  "CREATE TABLE IF NOT EXISTS products (id TEXT PRIMARY KEY, name TEXT NOT NULL, words TEXT NOT NULL," +
    " cents INTEGER NOT NULL)",
  "CREATE TABLE IF NOT EXISTS carts (draft TEXT, product TEXT REFERENCES products(id), quantity INTEGER NOT NULL," +
    " PRIMARY KEY (draft, product)) WITHOUT ROWID",
  "CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, customer TEXT NOT NULL, placed_at TEXT NOT NULL," +
    " cents INTEGER NOT NULL)",
  "CREATE TABLE IF NOT EXISTS order_lines (order_id TEXT, product TEXT REFERENCES products(id)," +
    " quantity INTEGER NOT NULL, cents INTEGER NOT NULL, PRIMARY KEY (order_id, product)) WITHOUT ROWID",
  "CREATE INDEX IF NOT EXISTS orders_by_customer ON orders (customer)",
];

export async function prepareShop(url: string): Promise<void> {
  const db = createClient({ url });
  const rows = goods.map(([name, words, cents]) => ({
    sql: "INSERT INTO products VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
    args: [name.toLowerCase().replaceAll(" ", "-"), name, words, cents],
  }));
  await db.batch([...tables, ...rows], "write");
  db.close();
}
