//! How many wait for a connection of a service's store.

use bursar_db::Db;
use opentelemetry::{KeyValue, metrics::Meter};

use crate::Service;

/// Shows to whoever looks at the metrics how many wait for a connection of a service's store.
pub fn show_crowd(service: Service, db: &Db, meter: &Meter) {
    let crowd = db.crowd();
    // The meter keeps the callback; the instrument itself is not needed again.
    let _gauge = meter
        .u64_observable_gauge("bursar.store.waiting")
        .with_unit("{call}")
        .with_description(
            "Calls and jobs of this replica that wait for their turn at a connection of the store; without those whose turn it is, \
             while the pool opens the connection."
        )
        .with_callback(move |gauge| gauge.observe(crowd.count(), &[KeyValue::new("service", service.name())]))
        .build();
}
