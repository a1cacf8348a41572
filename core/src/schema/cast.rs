//! TEMP
use super::*;
use crate::error::Result;
use arrow_array::RecordBatch;
use arrow_schema::*;
/// x
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RejectPolicy {
    /// x
    #[default]
    Fail,
    /// x
    Null,
}
/// x
#[derive(Debug, Clone, Default)]
pub struct ColumnRejects {
    /// x
    pub column: String,
    /// x
    pub rejected: u64,
    /// x
    pub examples: Vec<String>,
}
/// x
#[derive(Debug)]
pub struct Caster(SchemaRef);
impl Caster {
    /// x
    pub fn new(m: &TableMapping, _i: &SchemaRef, _p: RejectPolicy) -> Result<Self> {
        Ok(Self(m.target_table(TargetRef::new("", "")).arrow_schema()))
    }
    /// x
    pub fn cast(&self, b: &RecordBatch) -> Result<(RecordBatch, Vec<ColumnRejects>)> {
        let cols = self
            .0
            .fields()
            .iter()
            .zip(b.columns())
            .map(|(f, c)| Ok(arrow_cast::cast(c, f.data_type())?))
            .collect::<Result<Vec<_>>>()?;
        Ok((RecordBatch::try_new(self.0.clone(), cols)?, vec![]))
    }
}
/// x
pub fn possible_types(_d: &DataType, _e: Option<Extension>) -> Vec<BigQueryType> {
    vec![BigQueryType::String]
}
/// x
pub fn recipe_for(_d: &DataType, _t: &BigQueryType, _f: Option<&str>) -> Result<Recipe> {
    Ok(Recipe::Direct)
}
