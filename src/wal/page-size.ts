/**
 * What follows from the size of a page.
 */

/** Whether SQLite would accept this as a page size. */
export function isPageSize(n: number): boolean {
  return n >= 512 && n <= 65_536 && (n & (n - 1)) === 0;
}

/** The page that holds SQLite's lock bytes at 1 GiB. It is never written and has no content. */
export function lockPage(pageSize: number): number {
  return 0x4000_0000 / pageSize + 1;
}
