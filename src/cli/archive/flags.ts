/**
 * Values of options: sizes, addresses and durations. Each throws a misuse that shows what a good
 * one looks like.
 */

import { type Address, formatAddress, isUnspecified, readAddress } from "../../base/address.ts";
import { misuse } from "../terminal.ts";

/** `HOST:PORT`, IPv6 hosts in brackets. */
export function parseAddress(text: string, flag: string): Address {
  const address = readAddress(text.trim());
  if (address !== undefined && address.port > 0) return address;
  throw misuse(`${flag}: "${text}" is not HOST:PORT`, "For example 127.0.0.1:7001 or [::1]:7001");
}

/** An address that other nodes are told: it must lead here from there. */
export function parseMemberAddress(text: string, flag: string): string {
  const address = parseAddress(text, flag);
  if (!isUnspecified(address.host)) return formatAddress(address);
  throw misuse(
    `${flag}: ${text} stands for all addresses of a machine; nobody can connect to it`,
    `Write the address that the other nodes reach, for example 10.0.0.1:${address.port}`,
  );
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

/** `500ms`, `90s`, `15m`, `1h`, `2d` as milliseconds. A number alone is in `plain`, if that is given. */
export function parseDuration(
  text: string,
  flag: string,
  { min = 1, max, plain }: { min?: number; max: number; plain?: keyof typeof unitMs },
): number {
  const match = /^(\d{1,12}(?:\.\d{1,6})?)\s*(ms|s|m|h|d)?$/i.exec(text.trim());
  const unit = (match?.[2]?.toLowerCase() as keyof typeof unitMs | undefined) ?? plain;
  if (match === null || unit === undefined) {
    throw misuse(`${flag}: "${text}" is not a duration`, "For example 500ms, 30s, 15m, 1h or 2d");
  }
  const ms = Math.round(Number(match[1]) * unitMs[unit]);
  if (ms >= min && ms <= max) return ms;
  throw misuse(`${flag}: ${text} is not from ${formatDuration(min)} to ${formatDuration(max)}`);
}

/** Milliseconds as what parseDuration reads. */
export function formatDuration(ms: number): string {
  if (ms === 0) return "0s";
  const units = Object.entries(unitMs).reverse();
  const [unit, size] = units.find(([, each]) => ms >= each && ms % each === 0) ?? ["ms", 1];
  return `${ms / size}${unit}`;
}

/** Bytes as what parseSize reads. */
export function formatSize(bytes: number): string {
  return `${bytes / 1024 ** 2}M`;
}
