/** A name as SQL writes it, whatever it holds: `order "1"` is `"order ""1"""`. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
