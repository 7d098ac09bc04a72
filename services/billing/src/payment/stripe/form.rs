//! What Stripe's API is told: forms (`application/x-www-form-urlencoded`), with brackets for what is nested.

use std::fmt::Write as _;

/// A form in the making.
#[derive(Default)]
pub(super) struct Form(String);

impl Form {
    /// Adds a field.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        encode(&mut self.0, name);
        self.0.push('=');
        encode(&mut self.0, value);
        self
    }

    /// Its text.
    pub(super) fn text(self) -> String {
        self.0
    }
}

fn encode(into: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => into.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => drop(write!(into, "%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_value_holds_it_is_one_value() {
        let cases: [(&str, &str, &str); 4] = [
            ("amount", "2000", "amount=2000"),
            ("metadata[bursar_payment]", "pay_1", "metadata%5Bbursar_payment%5D=pay_1"),
            ("success_url", "https://x.test/?a=1&b=2", "success_url=https%3A%2F%2Fx.test%2F%3Fa%3D1%26b%3D2"),
            ("name", "Zoë\r\n+", "name=Zo%C3%AB%0D%0A%2B"),
        ];
        for (name, value, expected) in cases {
            assert_eq!(Form::default().with(name, value).text(), expected);
        }
        assert_eq!(Form::default().with("a", "1").with("b", "").text(), "a=1&b=");
    }
}
