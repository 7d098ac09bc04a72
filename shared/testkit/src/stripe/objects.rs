//! The fake's objects and what becomes of them, in the shapes that Stripe documents.

use serde_json::{Map, Value, json};

use super::{
    Card, State,
    api::{Answer, Fields, invalid, no},
};

/// What is at a name in brackets: `metadata[x]`.
fn metadata(fields: &Fields, begin: &str) -> Value {
    let notes = fields.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix(begin)?.strip_suffix(']')?;
        Some((name.to_owned(), Value::from(value.as_str())))
    });
    Value::Object(notes.collect::<Map<_, _>>())
}

/// The first field that an endpoint does not have.
fn unknown(fields: &Fields, known: &[&str]) -> Option<Answer> {
    let is_known = |name: &&String| known.iter().any(|it| name.split('[').next() == Some(*it));
    let name = fields.keys().find(|name| !is_known(name))?;
    Some(invalid("parameter_unknown", &format!("Received unknown parameter: {name}")))
}

fn text<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.get(name).map(String::as_str).unwrap_or_default()
}

/// What is said of a card that was taken from its customer: no more than that, without a code.
fn was_detached() -> Answer {
    let (status, mut answer) =
        invalid("", "The provided PaymentMethod was detached from a Customer. It may not be used again.");
    answer["error"]["code"].take();
    (status, answer)
}

impl State {
    pub(super) fn create_customer(&mut self, fields: &Fields) -> Answer {
        if let Some(no) = unknown(fields, &["metadata", "name", "email"]) {
            return no;
        }
        let id = self.id("cus");
        let metadata = metadata(fields, "metadata[");
        (200, self.put(json!({"id": id, "object": "customer", "livemode": false, "metadata": metadata})))
    }

    pub(super) fn delete_customer(&mut self, id: &str) -> Answer {
        if !self.has_customer(id) {
            return invalid("resource_missing", "No such customer");
        }
        for object in self.objects.values_mut().filter(|it| it["object"] == "payment_method" && it["customer"] == id) {
            object["customer"] = Value::Null;
        }
        let deleted = json!({"id": id, "object": "customer", "deleted": true});
        self.objects.insert(id.to_owned(), deleted.clone());
        (200, deleted)
    }

    /// Whether there is such a customer. One that was deleted is told of still, and takes no part in anything.
    fn has_customer(&self, id: &str) -> bool {
        self.objects.get(id).is_some_and(|it| it["object"] == "customer" && it["deleted"] != true)
    }

    pub(super) fn create_session(&mut self, fields: &Fields) -> Answer {
        let known = ["mode", "customer", "payment_method_types", "success_url", "cancel_url", "setup_intent_data"];
        if let Some(no) = unknown(fields, &known) {
            return no;
        }
        if text(fields, "mode") != "setup" || !text(fields, "success_url").contains("://") {
            return invalid("parameter_invalid_string_blank", "Invalid mode or success_url");
        }
        if !self.has_customer(text(fields, "customer")) {
            return invalid("resource_missing", "No such customer");
        }
        let metadata = metadata(fields, "setup_intent_data[metadata][");
        let setup = self.setup(text(fields, "customer"), &metadata);
        let id = self.id("cs_test");
        let session = json!({
            "id": id, "object": "checkout.session", "mode": "setup", "customer": text(fields, "customer"),
            "setup_intent": setup["id"], "status": "open", "client_secret": null,
            "url": format!("https://checkout.stripe.test/c/pay/{id}"), "livemode": false,
        });
        (200, self.put(session))
    }

    pub(super) fn create_setup(&mut self, fields: &Fields) -> Answer {
        if let Some(no) = unknown(fields, &["customer", "metadata", "usage", "payment_method_types"]) {
            return no;
        }
        (200, self.setup(text(fields, "customer"), &metadata(fields, "metadata[")))
    }

    fn setup(&mut self, customer: &str, metadata: &Value) -> Value {
        let id = self.id("seti");
        self.put(json!({
            "id": id, "object": "setup_intent", "customer": customer, "payment_method": null, "usage": "off_session",
            "status": "requires_payment_method", "client_secret": format!("{id}_secret_x"), "metadata": metadata,
            "livemode": false,
        }))
    }

    /// The customer enters a card on a page of checkout.
    pub(super) fn enter(&mut self, page: &str, card: Card) -> String {
        let session = self.objects.values().find(|it| it["url"] == *page).expect("a page of the fake").clone();
        let method = self.id("pm");
        self.cards.insert(method.clone(), card);
        self.put(json!({
            "id": method, "object": "payment_method", "type": "card", "customer": session["customer"],
            "billing_details": {"email": "ada@example.com", "name": "Ada"},
            "card": {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2034, "country": "US"},
            "livemode": false,
        }));
        let id = session["id"].as_str().expect("an id").to_owned();
        self.change(&id, |it| it["status"] = "complete".into());
        let setup = session["setup_intent"].as_str().expect("an id");
        let setup = self.change(setup, |it| {
            it["status"] = "succeeded".into();
            it["payment_method"] = method.as_str().into();
        });
        let session = self.objects[&id].clone();
        self.tell("checkout.session.completed", &session);
        self.tell("setup_intent.succeeded", &setup);
        method
    }

    pub(super) fn renew(&mut self, method: &str, (month, year): (u32, u32)) {
        let renewed = self.change(method, |it| {
            it["card"]["exp_month"] = month.into();
            it["card"]["exp_year"] = year.into();
        });
        self.tell("payment_method.automatically_updated", &renewed);
    }

    pub(super) fn remove(&mut self, method: &str) {
        let customer = self.objects[method]["customer"].as_str().expect("a customer").to_owned();
        self.delete_customer(&customer);
    }

    pub(super) fn detach(&mut self, id: &str) -> Answer {
        match self.objects.get(id) {
            None => invalid("resource_missing", "No such payment method"),
            Some(method) if method["customer"].is_null() => invalid(
                "",
                "The payment method you provided is not attached to a customer so detachment is impossible.",
            ),
            Some(_) => (200, self.change(id, |it| it["customer"] = Value::Null)),
        }
    }

    pub(super) fn create_intent(&mut self, fields: &Fields) -> Answer {
        let known = ["amount", "currency", "customer", "payment_method", "payment_method_types", "metadata"];
        if let Some(no) = unknown(fields, &known) {
            return no;
        }
        let (customer, method) = (text(fields, "customer"), text(fields, "payment_method"));
        let Ok(amount) = text(fields, "amount").parse::<i64>() else {
            return invalid("parameter_invalid_integer", "Invalid integer: amount");
        };
        if amount < 50 {
            return invalid("amount_too_small", "Amount must be at least 50 cents");
        }
        if text(fields, "currency").len() != 3 || text(fields, "currency").bytes().any(|it| !it.is_ascii_lowercase()) {
            return invalid("", "Invalid currency");
        }
        if self.has_customer(customer) && self.objects.get(method).is_some_and(|it| it["customer"].is_null()) {
            return was_detached();
        }
        if !self.has_customer(customer) || self.objects.get(method).is_none_or(|it| it["customer"] != *customer) {
            return invalid("resource_missing", "No such customer, or the payment method does not belong to it");
        }
        if let Some(Card::Barred(word)) = self.cards.get(method) {
            return invalid(word, "It is refused");
        }
        let id = self.id("pi");
        let intent = json!({
            "id": id, "object": "payment_intent", "amount": amount, "amount_received": 0, "capture_method": "automatic",
            "currency": text(fields, "currency"), "customer": customer, "payment_method": method,
            "payment_method_types": ["card"], "status": "requires_confirmation", "next_action": null,
            "last_payment_error": null, "latest_charge": null, "client_secret": format!("{id}_secret_x"),
            "metadata": metadata(fields, "metadata["), "livemode": false,
        });
        let intent = self.put(intent);
        self.tell("payment_intent.created", &intent);
        (200, intent)
    }

    pub(super) fn confirm(&mut self, id: &str, fields: &Fields) -> Answer {
        if let Some(no) = unknown(fields, &["off_session", "return_url", "payment_method"]) {
            return no;
        }
        let Some(intent) = self.objects.get(id).cloned() else {
            return invalid("resource_missing", "No such payment_intent");
        };
        if !matches!(intent["status"].as_str(), Some("requires_confirmation" | "requires_payment_method")) {
            return invalid(
                "payment_intent_unexpected_state",
                "This PaymentIntent could not be confirmed in its state.",
            );
        }
        if intent["payment_method"].is_null() {
            return invalid(
                "payment_intent_unexpected_state",
                "You cannot confirm this PaymentIntent because it's missing a payment method.",
            );
        }
        let method = intent["payment_method"].as_str().unwrap_or_default().to_owned();
        let customer = intent["customer"].as_str().unwrap_or_default();
        match self.objects.get(&method) {
            Some(it) if it["customer"].is_null() && self.has_customer(customer) => return was_detached(),
            Some(it) if !it["customer"].is_null() => {}
            _ => return invalid("resource_missing", "No such PaymentMethod"),
        }
        let off_session = text(fields, "off_session") == "true";
        match self.cards.get(&method).copied().unwrap_or(Card::Good) {
            Card::Good | Card::Barred(_) => (200, self.settle(id, true)),
            Card::Refused(word) => invalid(word, "It is refused"),
            Card::Pending => {
                let intent = self.change(id, |it| it["status"] = "processing".into());
                self.tell("payment_intent.processing", &intent);
                (200, intent)
            }
            Card::Declined(why) => self.decline(id, "card_declined", why),
            Card::Challenged if off_session => self.decline(id, "authentication_required", "authentication_required"),
            Card::Challenged => {
                let page = format!("https://hooks.stripe.test/3d_secure/{id}");
                let back = text(fields, "return_url").to_owned();
                let intent = self.change(id, |it| {
                    it["status"] = "requires_action".into();
                    it["next_action"] =
                        json!({"type": "redirect_to_url", "redirect_to_url": {"url": page, "return_url": back}});
                });
                self.tell("payment_intent.requires_action", &intent);
                (200, intent)
            }
        }
    }

    fn decline(&mut self, id: &str, code: &str, why: &str) -> Answer {
        let intent = self.fail(id, code, why);
        let (status, mut answer) = no(402, "card_error", code, "Your card was declined.");
        answer["error"]["decline_code"] = why.into();
        answer["error"]["payment_method"] = intent["last_payment_error"]["payment_method"].clone();
        answer["error"]["payment_intent"] = intent;
        (status, answer)
    }

    fn fail(&mut self, id: &str, code: &str, why: &str) -> Value {
        let of = self.objects.get(id).and_then(|it| it["payment_method"].as_str());
        let method = of.and_then(|of| self.objects.get(of)).cloned();
        let intent = self.change(id, |it| {
            it["status"] = "requires_payment_method".into();
            it["payment_method"] = Value::Null;
            it["next_action"] = Value::Null;
            it["last_payment_error"] = json!({
                "type": "card_error", "code": code, "decline_code": why, "message": "Your card was declined.",
                "payment_method": method,
            });
        });
        self.tell("payment_intent.payment_failed", &intent);
        intent
    }

    pub(super) fn cancel(&mut self, id: &str) -> Answer {
        let Some(intent) = self.objects.get(id) else { return invalid("resource_missing", "No such payment_intent") };
        if matches!(intent["status"].as_str(), Some("succeeded" | "canceled")) {
            return invalid("payment_intent_unexpected_state", "You cannot cancel this PaymentIntent.");
        }
        let intent = self.change(id, |it| it["status"] = "canceled".into());
        self.tell("payment_intent.canceled", &intent);
        (200, intent)
    }

    /// The money comes, or does not.
    pub(super) fn settle(&mut self, id: &str, succeeds: bool) -> Value {
        if !succeeds {
            return self.fail(id, "payment_intent_authentication_failure", "authentication_failed");
        }
        let charge = self.id("ch");
        let intent = self.change(id, |it| {
            it["status"] = "succeeded".into();
            it["next_action"] = Value::Null;
            it["amount_received"] = it["amount"].clone();
            it["latest_charge"] = charge.as_str().into();
        });
        let charged = self.put(json!({
            "id": charge, "object": "charge", "amount": intent["amount"], "amount_captured": intent["amount"],
            "amount_refunded": 0, "currency": intent["currency"], "customer": intent["customer"], "payment_intent": id,
            "metadata": intent["metadata"], "paid": true, "refunded": false, "disputed": false, "status": "succeeded",
            "billing_details": {"email": "ada@example.com"}, "livemode": false,
        }));
        self.tell("payment_intent.succeeded", &intent);
        self.tell("charge.succeeded", &charged);
        intent
    }

    pub(super) fn refund(&mut self, fields: &Fields) -> Answer {
        if let Some(no) = unknown(fields, &["payment_intent", "amount", "metadata", "reason"]) {
            return no;
        }
        let intent = text(fields, "payment_intent").to_owned();
        let charge = self.objects.get(&intent).and_then(|it| it["latest_charge"].as_str()).map(str::to_owned);
        let Some(charge) = charge else { return invalid("resource_missing", "No such charge") };
        let number = |name: &str| self.objects[&charge][name].as_i64().unwrap_or_default();
        let left = number("amount") - number("amount_refunded");
        let amount = text(fields, "amount").parse().unwrap_or(left);
        if left == 0 {
            return invalid("charge_already_refunded", "Charge has already been refunded.");
        }
        if amount <= 0 || amount > left {
            return invalid("", "Refund amount is greater than unrefunded amount on charge");
        }
        let id = self.id("re");
        let refund = self.put(json!({
            "id": id, "object": "refund", "amount": amount, "charge": charge, "payment_intent": intent,
            "currency": self.objects[&charge]["currency"], "status": "succeeded", "metadata": metadata(fields, "metadata["),
        }));
        let charged = self.change(&charge, |it| {
            it["amount_refunded"] = (it["amount_refunded"].as_i64().unwrap_or_default() + amount).into();
            it["refunded"] = (amount == left).into();
        });
        self.tell("charge.refunded", &charged);
        (200, refund)
    }

    pub(super) fn fail_refund(&mut self, intent: &str) {
        let is_it = |it: &&Value| it["object"] == "refund" && it["payment_intent"] == *intent;
        let last = self.objects.values().rfind(is_it).expect("a refund").clone();
        let amount = last["amount"].as_i64().unwrap_or_default();
        self.change(last["charge"].as_str().expect("a charge"), |it| {
            it["amount_refunded"] = (it["amount_refunded"].as_i64().unwrap_or_default() - amount).into();
            it["refunded"] = false.into();
        });
        let failed = self.change(last["id"].as_str().expect("an id"), |it| {
            it["status"] = "failed".into();
            it["failure_reason"] = "expired_or_canceled_card".into();
        });
        self.tell("refund.failed", &failed);
    }

    pub(super) fn list_refunds(&self, fields: &Fields) -> Answer {
        let of = text(fields, "payment_intent");
        let limit = text(fields, "limit").parse().unwrap_or(10);
        let after = text(fields, "starting_after");
        let all = self.objects.values().rev().filter(|it| it["object"] == "refund" && it["payment_intent"] == *of);
        let rest: Vec<&Value> = all.filter(|it| after.is_empty() || it["id"].as_str() < Some(after)).collect();
        let page: Vec<&Value> = rest.iter().copied().take(limit).collect();
        (200, json!({"object": "list", "url": "/v1/refunds", "has_more": rest.len() > page.len(), "data": page}))
    }

    pub(super) fn dispute(&mut self, intent: &str, amount: i64) -> String {
        let charge = self.objects[intent]["latest_charge"].clone();
        let id = self.id("dp");
        let dispute = self.put(json!({
            "id": id, "object": "dispute", "amount": amount, "charge": charge, "payment_intent": intent,
            "currency": self.objects[intent]["currency"], "reason": "fraudulent", "status": "needs_response",
            "metadata": {}, "livemode": false,
        }));
        self.change(charge.as_str().expect("a charge"), |it| it["disputed"] = true.into());
        self.tell("charge.dispute.created", &dispute);
        self.tell("charge.dispute.funds_withdrawn", &dispute);
        id
    }

    pub(super) fn decide(&mut self, dispute: &str, status: &str) {
        let decided = self.change(dispute, |it| it["status"] = status.into());
        self.tell("charge.dispute.closed", &decided);
    }

    fn change(&mut self, id: &str, change: impl FnOnce(&mut Value)) -> Value {
        let object = self.objects.get_mut(id).unwrap_or_else(|| panic!("the fake has no {id}"));
        change(object);
        object.clone()
    }
}
