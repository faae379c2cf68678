/**
 * Values as small integers: equal values have equal numbers, so that a search compares and remembers states without
 * touching JSON. A list is a path in a tree: the number of `[1,2,3]` is the child "3" of the number of `[1,2]`.
 *
 * Absent, null and the empty list are the same: a table without rows for a key has none of the three.
 *
 * Not here: what operations do to values (models.ts).
 */

import type { Json } from "../history.ts";

/** The number of null, and of the empty list. */
export const absent = 0;

/** More distinct values than this do not fit into the key of an edge of the tree. */
const idsMax = 2 ** 26;

export class Values {
  readonly #idByPrimitive = new Map<number | string | boolean, number>();
  readonly #idByText = new Map<string, number>();
  /** Child of a list by list and element, packed into one number. */
  readonly #childByEdge = new Map<number, number>();
  /** By number: 1 for lists, and for absent, which is one. */
  readonly #isList: number[] = [1];

  /** The number of a value; the same for the same value, always. */
  id(value: Json): number {
    if (value === null) return absent;
    if (typeof value !== "object") {
      return this.#idByPrimitive.get(value) ?? this.#create(this.#idByPrimitive, value, 0);
    }
    if (Array.isArray(value)) {
      return value.reduce((list: number, element: Json) => this.append(list, element), absent);
    }
    const text = JSON.stringify(value);
    return this.#idByText.get(text) ?? this.#create(this.#idByText, text, 0);
  }

  /** The list with one element more; -1 when the value is no list. */
  append(list: number, element: Json): number {
    if (this.#isList[list] !== 1) return -1;
    const edge = list * idsMax + this.id(element);
    return this.#childByEdge.get(edge) ?? this.#create(this.#childByEdge, edge, 1);
  }

  #create<K>(map: Map<K, number>, key: K, isList: 0 | 1): number {
    const id = this.#isList.length;
    if (id >= idsMax) throw new RangeError(`more than ${idsMax} distinct values in one key`);
    this.#isList.push(isList);
    map.set(key, id);
    return id;
  }
}
