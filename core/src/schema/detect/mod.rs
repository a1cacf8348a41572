//! TEMP
use super::*;
/// x
#[derive(Debug)]
pub struct Detection {
    /// x
    pub values: usize,
    /// x
    pub candidates: Vec<Candidate>,
    /// x
    pub vetoes: Vec<Warning>,
}
/// x
#[derive(Debug)]
pub struct Candidate {
    /// x
    pub bigquery_type: BigQueryType,
    /// x
    pub recipe: Recipe,
    /// x
    pub score: f64,
    /// x
    pub reason: String,
    /// x
    pub warnings: Vec<Warning>,
    /// x
    pub evidence: Evidence,
}
/// x
pub fn detect<'a>(_n: &str, v: impl Iterator<Item = Option<&'a str>>) -> Detection {
    Detection { values: v.count(), candidates: vec![], vetoes: vec![] }
}
