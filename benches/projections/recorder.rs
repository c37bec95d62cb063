//! Keeps every value of one histogram.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit, set_global_recorder,
};

const NAME: &str = "weir_projection_lag_seconds";

type Values = Arc<Mutex<Vec<f64>>>;

/// The values, by projection.
#[derive(Clone, Default)]
pub(crate) struct Lags(Arc<Mutex<BTreeMap<String, Values>>>);

struct Kept(Values);

/// Keeps them from now on.
pub(crate) fn install() -> Lags {
    let lags = Lags::default();
    assert!(set_global_recorder(lags.clone()).is_ok(), "nobody else records");
    lags
}

impl Lags {
    /// What has come since the last time; not of who had nothing.
    pub(crate) fn take(&self) -> Vec<(String, Vec<f64>)> {
        let all = self.0.lock().unwrap();
        let taken = all.iter().map(|(name, values)| (name.clone(), std::mem::take(&mut *values.lock().unwrap())));
        taken.filter(|(_, values)| !values.is_empty()).collect()
    }
}

impl HistogramFn for Kept {
    fn record(&self, value: f64) {
        self.0.lock().unwrap().push(value);
    }
}

impl Recorder for Lags {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        if key.name() != NAME {
            return Histogram::noop();
        }
        let name = key.labels().next().map(|label| label.value().to_owned()).unwrap_or_default();
        let values = self.0.lock().unwrap().entry(name).or_default().clone();
        Histogram::from_arc(Arc::new(Kept(values)))
    }
}
