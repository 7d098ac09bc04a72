//! Builds this crate anew when a migration is added: `sqlx::migrate!` only knows the files that it has seen.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
