/**
 * Values of options that more than one verb takes: sizes and addresses. Each throws a misuse that shows what a good
 * one looks like.
 */

import { misuse } from "../terminal.ts";

/** `HOST:PORT`, IPv6 hosts in brackets. */
export function parseAddress(text: string, flag: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:/\s]+)):(\d{1,5})$/.exec(text.trim());
  const port = Number(match?.[3]);
  if (match === null || port < 1 || port > 65_535) {
    throw misuse(`${flag}: "${text}" is not HOST:PORT`, "For example 127.0.0.1:7001 or [::1]:7001");
  }
  return { host: (match[1] ?? match[2])!, port };
}

/** `500`, `64K`, `8M`, `2G` as bytes. */
export function parseSize(text: string, flag: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([KMG]?)(?:i?B)?$/i.exec(text.trim());
  if (match === null) throw misuse(`${flag}: "${text}" is not a size`, "For example 64M or 2G");
  const power = ["", "K", "M", "G"].indexOf(match[2]!.toUpperCase());
  const bytes = Math.round(Number(match[1]) * 1024 ** power);
  if (!Number.isSafeInteger(bytes)) throw misuse(`${flag}: ${text} is more than there is`);
  return bytes;
}

/** Bytes as what parseSize reads. */
export function formatSize(bytes: number): string {
  return `${bytes / 1024 ** 2}M`;
}
