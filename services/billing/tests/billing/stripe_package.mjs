// Speaks to the tests' fake of Stripe, and to the inbox, as Stripe's own package does. `stripe_package.rs` runs it.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const { PACKAGE, FAKE, INBOX, SECRET, AT, VERSION, KEY } = process.env;
const Stripe = createRequire(`${PACKAGE}/package.json`)("stripe");
const fake = new URL(FAKE);
const reach = { host: fake.hostname, port: fake.port, protocol: "http", apiVersion: VERSION, maxNetworkRetries: 0, telemetry: false };
const stripe = new Stripe(KEY, reach);
const refusal = async (promise) => {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  assert.fail("it was not refused");
};

// Customers, and checkout in setup mode.
const customer = await stripe.customers.create({ metadata: { bursar_owner: "usr_x" } }, { idempotencyKey: "c1" });
assert.match(customer.id, /^cus_/);
assert.equal(customer.metadata.bursar_owner, "usr_x");
const again = await stripe.customers.create({ metadata: { bursar_owner: "usr_x" } }, { idempotencyKey: "c1" });
assert.equal(again.id, customer.id);
const twice = await refusal(stripe.customers.create({ metadata: {} }, { idempotencyKey: "c1" }));
assert.equal(twice.type, "StripeIdempotencyError");
const session = await stripe.checkout.sessions.create({
  mode: "setup",
  customer: customer.id,
  payment_method_types: ["card"],
  success_url: "https://example.com/done?a=1&b=2",
  cancel_url: "https://example.com/done",
  setup_intent_data: { metadata: { bursar_method: "pmt_x" } },
});
assert.equal(session.object, "checkout.session");
assert.ok(session.url.startsWith("https://"));
const setup = await stripe.setupIntents.retrieve(session.setup_intent);
assert.equal(setup.metadata.bursar_method, "pmt_x");

// The card that the test has entered for somebody else.
const [method, owner] = process.env.CARD.split(" ");
const card = await stripe.paymentMethods.retrieve(method);
assert.deepEqual([card.customer, card.card.last4], [owner, "4242"]);
const stranger = await refusal(stripe.paymentIntents.create({ amount: 2000, currency: "usd", customer: customer.id, payment_method: method }));
assert.equal(stranger.type, "StripeInvalidRequestError");
const intent = await stripe.paymentIntents.create({
  amount: 2000,
  currency: "usd",
  customer: owner,
  payment_method: method,
  payment_method_types: ["card"],
  metadata: { note: "Zoë & co" },
});
assert.deepEqual([intent.status, intent.metadata.note], ["requires_confirmation", "Zoë & co"]);
const paid = await stripe.paymentIntents.confirm(intent.id, { off_session: true });
assert.deepEqual([paid.status, paid.amount_received], ["succeeded", 2000]);
const state = await refusal(stripe.paymentIntents.confirm(intent.id));
assert.equal(state.code, "payment_intent_unexpected_state");

// Declines.
const bad = process.env.DECLINED.split(" ");
const declining = await stripe.paymentIntents.create({ amount: 2000, currency: "usd", customer: bad[1], payment_method: bad[0] });
const declined = await refusal(stripe.paymentIntents.confirm(declining.id));
assert.deepEqual([declined.type, declined.code, declined.decline_code], ["StripeCardError", "card_declined", "lost_card"]);
assert.equal(declined.payment_intent.last_payment_error.decline_code, "lost_card");
const canceled = await stripe.paymentIntents.cancel(declining.id);
assert.equal(canceled.status, "canceled");
const unattended = async ([method, owner]) => {
  const intent = await stripe.paymentIntents.create({ amount: 2000, currency: "usd", customer: owner, payment_method: method });
  const error = await refusal(stripe.paymentIntents.confirm(intent.id, { off_session: true }));
  assert.ok(error instanceof Stripe.errors.StripeCardError, error.type);
  assert.deepEqual([error.statusCode, error.payment_intent.id, error.payment_method.id], [402, intent.id, method]);
  const after = await stripe.paymentIntents.retrieve(intent.id);
  assert.deepEqual([after.status, after.payment_method], ["requires_payment_method", null]);
  const { type, code, decline_code } = after.last_payment_error;
  assert.deepEqual([type, code, decline_code], ["card_error", error.code, error.decline_code]);
  return [error.code, error.decline_code];
};
assert.deepEqual(await unattended(bad), ["card_declined", "lost_card"]);

// 3-D Secure: without its customer a card is declined whose bank wants to see them, and with them it says where to go.
const watched = process.env.CHALLENGED.split(" ");
assert.deepEqual(await unattended(watched), ["authentication_required", "authentication_required"]);
const attended = await stripe.paymentIntents.create({ amount: 2000, currency: "usd", customer: watched[1], payment_method: watched[0] });
const challenged = await stripe.paymentIntents.confirm(attended.id, { return_url: "https://example.com/back" });
assert.deepEqual([challenged.status, challenged.next_action.type], ["requires_action", "redirect_to_url"]);
assert.equal(challenged.next_action.redirect_to_url.return_url, "https://example.com/back");
assert.match(challenged.next_action.redirect_to_url.url, /^https:/);
assert.match(challenged.client_secret, /_secret_/);
const early = await refusal(stripe.paymentIntents.confirm(attended.id, { return_url: "https://example.com/back" }));
assert.ok(early instanceof Stripe.errors.StripeInvalidRequestError, early.type);
assert.equal(early.code, "payment_intent_unexpected_state");
assert.equal((await stripe.paymentIntents.retrieve(attended.id)).status, "requires_action");

// Refunds, and pages of them.
for (const n of [1, 2, 3]) {
  const refund = await stripe.refunds.create({ payment_intent: intent.id, amount: 100, metadata: { bursar_refund: `r${n}` } });
  assert.equal(refund.status, "succeeded");
}
const pages = [];
for await (const refund of stripe.refunds.list({ payment_intent: intent.id, limit: 2 })) {
  pages.push(refund.metadata.bursar_refund);
}
assert.deepEqual(pages, ["r3", "r2", "r1"]);
const over = await refusal(stripe.refunds.create({ payment_intent: intent.id, amount: 1701 }));
assert.equal(over.type, "StripeInvalidRequestError");

// Cards that are removed.
const detached = await stripe.paymentMethods.detach(method);
assert.equal(detached.customer, null);
assert.equal((await stripe.customers.del(customer.id)).deleted, true);
const gone = await refusal(stripe.customers.del(customer.id));
assert.equal(gone.code, "resource_missing");

// Who may ask, and in which version.
assert.equal((await refusal(new Stripe("sk_test_other", reach).refunds.list())).type, "StripeAuthenticationError");
assert.equal((await refusal(new Stripe(KEY, { ...reach, apiVersion: "2020-08-27" }).refunds.list({ limit: 1 }))).statusCode, 400);

// The signature of the fake is one to the package, and the package's is one to the inbox.
const webhook = JSON.parse(process.env.WEBHOOK);
const event = stripe.webhooks.constructEvent(webhook.body, webhook.header, SECRET, Number.MAX_SAFE_INTEGER);
assert.equal(event.object, "event");
const deliver = async (payload, secret) => {
  const header = stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp: Number(AT) });
  const answer = await fetch(INBOX, { method: "POST", body: payload, headers: { "stripe-signature": header } });
  return answer.status;
};
const payload = JSON.stringify({ id: "evt_package", object: "event", type: "invoice.paid", data: { object: { id: "in_1" } } }, null, 2);
assert.equal(await deliver(payload, SECRET), 200);
assert.equal(await deliver(payload, "whsec_other"), 400);
console.log("agreed");
