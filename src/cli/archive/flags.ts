/**
 * Values of options: sizes, addresses and durations. Each throws a misuse that shows what a good
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

const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** `500ms`, `90s`, `15m`, `1h`, `2d` as milliseconds, from 1 to `max`. */
export function parseDuration(text: string, flag: string, max: number): number {
  const match = /^(\d{1,12}(?:\.\d{1,3})?)\s*(ms|s|m|h|d)$/i.exec(text.trim());
  if (match === null) {
    throw misuse(`${flag}: "${text}" is not a duration`, "For example 30s, 15m, 1h or 2d");
  }
  const ms = Math.round(Number(match[1]) * unitMs[match[2]!.toLowerCase() as keyof typeof unitMs]);
  if (ms >= 1 && ms <= max) return ms;
  throw misuse(`${flag}: ${text} is not from 1ms to ${formatDuration(max)}`);
}

/** Milliseconds as what parseDuration reads. */
export function formatDuration(ms: number): string {
  const units = Object.entries(unitMs).reverse();
  const [unit, size] = units.find(([, each]) => ms >= each && ms % each === 0) ?? ["ms", 1];
  return `${ms / size}${unit}`;
}

/** Bytes as what parseSize reads. */
export function formatSize(bytes: number): string {
  return `${bytes / 1024 ** 2}M`;
}
