//! TEMP
/// x
pub fn target_name(n: &str) -> String {
    n.to_owned()
}
/// x
pub fn target_names<'a>(n: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    n.into_iter().map(str::to_owned).collect()
}
