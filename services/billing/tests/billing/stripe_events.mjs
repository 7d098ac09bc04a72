// Reads the events of the tests' fake of Stripe as Stripe's own package does, holds their objects against the shapes that its
// types document, and delivers them to the inbox under the package's signature. `stripe_package.rs` runs it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { PACKAGE, FAKE, INBOX, SECRET, AT, VERSION, KEY, WEBHOOKS, CANCEL } = process.env;
const Stripe = createRequire(`${PACKAGE}/package.json`)("stripe");
const fake = new URL(FAKE);
const reach = { host: fake.hostname, port: fake.port, protocol: "http", apiVersion: VERSION, maxNetworkRetries: 0, telemetry: false };
const stripe = new Stripe(KEY, reach);

// The fields of an interface, and the words for its status: at this depth of the package's types.
const documented = (file, name, depth = 0) => {
  const text = readFileSync(`${PACKAGE}/node_modules/stripe/esm/resources/${file}.d.ts`, "utf8");
  const [outer, inner] = [" ".repeat(depth), " ".repeat(depth + 4)];
  const begin = depth === 0 ? `export interface ${name} {\n` : `${outer}interface ${name} {\n`;
  const body = text.split(begin)[1].split(`\n${outer}}\n`)[0];
  const fields = [...body.matchAll(new RegExp(`^${inner}(\\w+)\\??: (.+);$`, "gm"))].map(([, field, type]) => [field, type]);
  const words = depth === 0 ? text.match(/^ {4}type Status = (.+);$/m)?.[1].match(/'\w+'/g) : undefined;
  return { fields: new Map(fields), statuses: words?.map((word) => word.slice(1, -1)) };
};
const shapes = {
  payment_intent: documented("PaymentIntents", "PaymentIntent"),
  charge: documented("Charges", "Charge"),
  dispute: documented("Disputes", "Dispute"),
  refund: documented("Refunds", "Refund"),
  setup_intent: documented("SetupIntents", "SetupIntent"),
  payment_method: documented("PaymentMethods", "PaymentMethod"),
  "checkout.session": documented("Checkout/Sessions", "Session"),
};
const lastError = documented("PaymentIntents", "LastPaymentError", 4);

// Whether every field is one that Stripe has, and is what it says.
const conforms = (object, { fields, statuses }, of) => {
  for (const [name, value] of Object.entries(object)) {
    const type = fields.get(name);
    const told = `${of}.${name} is ${JSON.stringify(value)}, and Stripe says ${type}`;
    assert.ok(type, told);
    if (value === null) assert.match(type, /\bnull\b/, told);
    else if (typeof value === "number" || typeof value === "boolean") assert.match(type, new RegExp(`^${typeof value}\\b`), told);
    else if (typeof value === "string") assert.doesNotMatch(type, /^(number|boolean|Array|Metadata)\b/, told);
    else assert.doesNotMatch(type, /^(string|number|boolean)( \| null)?$/, told);
  }
  if (statuses) assert.ok(statuses.includes(object.status), `${of}: ${object.status} is none of ${statuses}`);
};

// What the inbox uses of each type of event.
const cost = (it) => assert.deepEqual([it.amount, it.currency], [2000, "usd"]);
const marked = (it) => assert.match(it.metadata.bursar_payment, /^pay_/);
const intent = (status, more = () => {}) => (it) => {
  assert.equal(it.status, status);
  assert.match(it.id, /^pi_/);
  for (const check of [cost, marked, more]) check(it);
};
const dispute = (...statuses) => (it) => {
  assert.ok(statuses.includes(it.status), it.status);
  assert.match(it.payment_intent, /^pi_/);
  cost(it);
};
const card = (it) => assert.deepEqual([it.id.slice(0, 3), it.customer.slice(0, 4), typeof it.card.exp_year], ["pm_", "cus_", "number"]);
const reads = {
  "payment_intent.succeeded": intent("succeeded", (it) => assert.equal(it.amount_received, 2000)),
  "payment_intent.payment_failed": intent("requires_payment_method", (it) => {
    conforms(it.last_payment_error, lastError, "last_payment_error");
    assert.ok(it.last_payment_error.code && it.last_payment_error.decline_code);
  }),
  "payment_intent.canceled": intent("canceled"),
  "payment_intent.requires_action": intent("requires_action", (it) => {
    assert.equal(it.next_action.type, "redirect_to_url");
    assert.match(it.next_action.redirect_to_url.url, /^https:/);
    assert.match(it.client_secret, /_secret_/);
  }),
  "payment_intent.processing": intent("processing"),
  "charge.refunded": (it) => {
    assert.deepEqual([it.amount_refunded, it.currency, it.refunded, it.disputed], [500, "usd", false, true]);
    assert.match(it.payment_intent, /^pi_/);
    marked(it);
  },
  "charge.dispute.created": dispute("needs_response"),
  "charge.dispute.funds_withdrawn": dispute("needs_response"),
  "charge.dispute.closed": dispute("won", "lost"),
  "refund.failed": (it) => {
    assert.deepEqual([it.status, it.amount, it.metadata], ["failed", 500, {}]);
    assert.match(it.payment_intent, /^pi_/);
  },
  "setup_intent.succeeded": (it) => {
    assert.deepEqual([it.status, it.customer.slice(0, 4), it.payment_method.slice(0, 3)], ["succeeded", "cus_", "pm_"]);
    assert.deepEqual([it.metadata.bursar_method.slice(0, 4), it.metadata.bursar_owner.slice(0, 4)], ["pmt_", "usr_"]);
  },
  "payment_method.updated": card,
  "payment_method.automatically_updated": card,
};

const latest = new Map();
for (const { header, body } of JSON.parse(WEBHOOKS)) {
  assert.throws(() => stripe.webhooks.constructEvent(`${body} `, header, SECRET, Number.MAX_SAFE_INTEGER), Stripe.errors.StripeSignatureVerificationError);
  const event = stripe.webhooks.constructEvent(body, header, SECRET, Number.MAX_SAFE_INTEGER);
  assert.deepEqual([event.object, event.api_version], ["event", VERSION]);
  const object = event.data.object;
  assert.ok(shapes[object.object], `nothing is known of ${object.object}`);
  conforms(object, shapes[object.object], event.type);
  reads[event.type]?.(object);
  latest.set(object.id, object);
  const signature = stripe.webhooks.generateTestHeaderString({ payload: body, secret: SECRET, timestamp: Number(AT) });
  const answer = await fetch(INBOX, { method: "POST", body, headers: { "stripe-signature": signature } });
  assert.equal(answer.status, 200, event.type);
}

// What was told last of an object is what the package is told who asks for it.
const asks = {
  payment_intent: (id) => stripe.paymentIntents.retrieve(id),
  dispute: (id) => stripe.disputes.retrieve(id),
  refund: (id) => stripe.refunds.retrieve(id),
  setup_intent: (id) => stripe.setupIntents.retrieve(id),
  payment_method: (id) => stripe.paymentMethods.retrieve(id),
};
for (const [id, object] of latest) {
  const asked = await asks[object.object]?.(id);
  if (asked) assert.deepEqual(JSON.parse(JSON.stringify(asked)), object);
}
if (CANCEL) assert.equal((await stripe.paymentIntents.cancel(CANCEL)).status, "canceled");
console.log("agreed");
