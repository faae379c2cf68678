/**
 * The pages of the shop. Rendered on the server, no script; what they show was read from a follower.
 */

import { Html, html } from "./html.ts";
import type { CartLine, Order, Product } from "./store.ts";

/** A whole page. */
export function page(title: string, body: Html): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} · The Slipstream</title>
<style>${style}</style>
</head>
<body>
<header><a class="name" href="/">The Slipstream</a>
<nav><a href="/">Catalogue</a><a href="/cart">Cart</a><a href="/orders">My orders</a></nav></header>
<main><h1>${title}</h1>${body}</main>
<footer>A shop on Paceline: the catalogue comes from followers, orders go to the leader.</footer>
</body>
</html>`.text;
}

export function cataloguePage(products: readonly Product[]): string {
  const cards = products.map(
    (product) => html`<li>
<h2>${product.name}</h2><p>${product.words}</p>
<form method="post" action="/cart"><strong>${price(product.cents)}</strong>
<input type="hidden" name="product" value="${product.id}">
<button>Put into the cart</button></form></li>`,
  );
  return page("Catalogue", html`<ul class="cards">${cards}</ul>`);
}

export function cartPage(lines: readonly CartLine[], draft: string): string {
  if (lines.length === 0) {
    return page("Cart", html`<p>Nothing in it yet. <a href="/">See what there is.</a></p>`);
  }
  const total = lines.reduce((sum, line) => sum + line.cents * line.quantity, 0);
  return page(
    "Cart",
    html`<table>${lines.map(
      (line) => html`<tr><td>${line.name}</td><td>
<form method="post" action="/cart"><input type="hidden" name="product" value="${line.product}">
<input name="quantity" type="number" min="0" max="99" value="${line.quantity}" aria-label="quantity of ${line.name}">
<button class="quiet">Change</button></form></td><td class="sum">${price(line.cents * line.quantity)}</td></tr>`,
    )}<tr><th colspan="2">Together</th><th class="sum">${price(total)}</th></tr></table>
<form method="post" action="/orders"><input type="hidden" name="order" value="${draft}">
<button>Order now</button></form>`,
  );
}

export function ordersPage(orders: readonly Order[], placed: string | undefined): string {
  const thanks =
    placed !== undefined && orders.some((order) => order.id === placed)
      ? html`<p class="thanks" id="confirmed">Thank you. Your order ${short(placed)} is placed.</p>`
      : undefined;
  if (orders.length === 0) return page("My orders", html`<p>None yet.</p>`);
  return page(
    "My orders",
    html`${thanks}<table><tr><th>Order</th><th>Placed</th><th>What</th><th class="sum">Together</th></tr>${orders.map(
      (
        order,
      ) => html`<tr data-order="${order.id}"><td>${short(order.id)}</td><td>${order.placedAt}</td><td>${order.what}</td>
<td class="sum">${price(order.cents)}</td></tr>`,
    )}</table>`,
  );
}

/** Nobody could say whether the order was placed. The button asks again, about the same order. */
export function unknownPage(order: string): string {
  return page(
    "One moment",
    html`<p>We have sent your order ${short(order)}, and the database has not told us yet whether it is placed.
It will be placed once, however often you ask.</p>
<form method="post" action="/orders"><input type="hidden" name="order" value="${order}">
<button>Ask again</button></form>`,
  );
}

export function failurePage(title: string, text: string): string {
  return page(title, html`<p>${text}</p><p><a href="/">Back to the catalogue</a></p>`);
}

function price(cents: number): string {
  return `€ ${(cents / 100).toFixed(2)}`;
}

function short(id: string): string {
  return id.slice(0, 8);
}

const style = new Html(`
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; --line: #8884; --accent: #c2410c }
body { max-width: 60rem; margin: 0 auto; padding: 0 1rem }
header { display: flex; flex-wrap: wrap; gap: 1rem 2rem; align-items: baseline; padding: 1rem 0 }
header { border-bottom: 1px solid var(--line) }
.name { font-size: 1.25rem; font-weight: 700; color: inherit; text-decoration: none }
nav { display: flex; gap: 1.25rem }
a { color: var(--accent) }
h1 { font-size: 1.5rem }
h2 { font-size: 1.05rem; margin: 0 0 .25rem }
p { margin: .25rem 0 1rem }
.cards { list-style: none; padding: 0; display: grid; gap: 1rem }
.cards { grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)) }
.cards li { border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; display: flex; flex-direction: column }
.cards form { margin-top: auto; display: flex; justify-content: space-between; align-items: center }
button { font: inherit; border: 0; border-radius: .375rem; padding: .375rem .75rem; cursor: pointer }
button { background: var(--accent); color: #fff }
button.quiet { background: none; color: var(--accent) }
input[type=number] { font: inherit; width: 4rem }
table { width: 100%; border-collapse: collapse; margin-bottom: 1rem }
th { text-align: left }
td, th { padding: .5rem .5rem .5rem 0; border-bottom: 1px solid var(--line); vertical-align: baseline }
.sum { text-align: right }
.thanks { border-left: .25rem solid var(--accent); padding: .5rem 1rem }
footer { margin: 3rem 0 1rem; opacity: .7; font-size: .875rem }
`);
