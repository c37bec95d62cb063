//! Whether two samples can be told apart.

/// Times in seconds, in order.
pub struct Sample(Vec<f64>);

impl Sample {
    pub fn new(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        Self(values)
    }

    pub fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }

    pub fn variance(&self) -> f64 {
        let mean = self.mean();
        self.0.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (self.0.len() as f64 - 1.0)
    }

    /// The value below which this part of all lies; 0 when there is none.
    pub fn quantile(&self, part: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * part).round() as usize).copied().unwrap_or(0.0)
    }
}

pub fn median(values: Vec<f64>) -> f64 {
    Sample::new(values).quantile(0.5)
}

/// Of the difference of the means.
pub fn standard_error(a: &Sample, b: &Sample) -> f64 {
    (a.variance() / a.0.len() as f64 + b.variance() / b.0.len() as f64).sqrt()
}

/// Welch's t, and how likely one as large is by chance (by the normal distribution, which it is close to with hundreds).
pub fn welch(a: &Sample, b: &Sample) -> (f64, f64) {
    let t = (a.mean() - b.mean()) / standard_error(a, b);
    (t, by_chance(t))
}

/// The rank sum of Mann and Whitney as a deviation from what is expected, and how likely one as large is by chance. Times are
/// measured so finely that ties do not matter.
pub fn mann_whitney(a: &Sample, b: &Sample) -> (f64, f64) {
    let (n, m) = (a.0.len() as f64, b.0.len() as f64);
    let mut below = 0;
    let mut u = 0.0;
    for value in &a.0 {
        while b.0.get(below).is_some_and(|other| other < value) {
            below += 1;
        }
        u += below as f64;
    }
    let z = (u - n * m / 2.0) / (n * m * (n + m + 1.0) / 12.0).sqrt();
    (z, by_chance(z))
}

/// Two-sided, of a standard normal deviate (Abramowitz and Stegun, 7.1.26: to seven digits).
fn by_chance(deviate: f64) -> f64 {
    let x = deviate.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let polynomial = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    polynomial.iter().fold(0.0, |sum, factor| (sum + factor) * t) * (-x * x).exp()
}
