//! One reading of one table: its files as they were at the beginning.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use arrow_select::filter::filter_record_batch;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use transload_core::batch::{BATCH_BYTES, SAMPLE_BYTES, batch_bytes, split_by_bytes};
use transload_core::connector::{CursorSummary, ReadPlan, ReadSession, Split};
use transload_core::schema::{CursorValue, TableRef, TableSchema};
use transload_core::{BatchStream, Error, ErrorKind, Result, ResultExt as _};

use crate::connect::{DataFile, Kind, Root};
use crate::filter::{RowFilter, summarise};
use crate::parquet::ParquetTable;
use crate::stream::{batches, blocking};
use crate::text::{self, Dialect, TextReader, TextTable};

/// What one file holds, with what its head or footer says.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    Text(Arc<TextTable>),
    Parquet(ParquetTable),
}

impl Content {
    pub(crate) fn open(root: &Root, file: &DataFile) -> Result<Self> {
        let config = &root.config;
        let text = |table: Result<TextTable>| table.map(|table| Self::Text(Arc::new(table)));
        match root.kind(file)? {
            Kind::Delimited(usual) => {
                text(TextTable::delimited(&file.path, file.bytes, Dialect::of(config, usual)?))
            }
            Kind::Fixed => {
                let mut dialect = Dialect::of(config, b' ')?;
                // With given columns a header is not needed, and taking a row for one would lose it.
                dialect.header = config.header.unwrap_or(config.columns.is_empty());
                text(TextTable::fixed(&file.path, file.bytes, dialect, &config.columns))
            }
            Kind::Parquet => ParquetTable::open(&file.path).map(Self::Parquet),
        }
    }

    fn schema(&self, table: TableRef) -> TableSchema {
        match self {
            Self::Text(text) => text.schema(table),
            Self::Parquet(parquet) => parquet.schema(table),
        }
    }

    fn agrees(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.names == b.names,
            (Self::Parquet(a), Self::Parquet(b)) => a.agrees(b),
            _ => false,
        }
    }

    fn rows(&self, file: &DataFile) -> Result<u64> {
        match self {
            Self::Text(text) => text::rows_estimate(&file.path, file.bytes, text.data_start),
            Self::Parquet(parquet) => Ok(parquet.rows()),
        }
    }
}

/// The files of one table.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) table: TableSchema,
    files: Vec<(DataFile, Content)>,
}

impl Files {
    /// Looks at every file of a table; they must agree in their columns.
    pub(crate) fn open(root: &Root, table: &TableRef) -> Result<Self> {
        let mut files: Vec<(DataFile, Content)> = Vec::new();
        for file in root.resolve(table)? {
            let content = Content::open(root, &file)?;
            if let Some((first, other)) = files.first()
                && !content.agrees(other)
            {
                let message = format!("{} and {} have different columns", first.name, file.name);
                return Err(Error::new(ErrorKind::Data, message)
                    .with("table", table)
                    .hint("read them as tables of their own, or narrow the pattern"));
            }
            files.push((file, content));
        }
        let Some((_, first)) = files.first() else {
            return Err(Error::internal("a table without files").with("table", table));
        };
        let mut schema = first.schema(table.clone());
        let mut rows = 0;
        for (file, content) in &files {
            rows += content.rows(file)?;
            // A column is NOT NULL only if it is so in every file.
            let own = content.schema(table.clone());
            for (column, own) in schema.columns.iter_mut().zip(&own.columns) {
                column.nullable |= own.nullable;
            }
        }
        schema.rows_estimate = Some(rows);
        Ok(Self { table: schema, files })
    }

    /// Positions and Arrow schema of the named columns.
    fn fields(&self, names: &[String]) -> Result<(Vec<usize>, SchemaRef)> {
        let schema = self.table.arrow_schema_of(names)?;
        let fields = if names.is_empty() {
            (0..self.table.columns.len()).collect()
        } else {
            let at = |name: &String| self.table.columns.iter().position(|column| &column.name == name);
            names.iter().filter_map(at).collect()
        };
        Ok((fields, schema))
    }

    /// Up to `rows` rows, spread over files and inside them.
    pub(crate) fn sample(&self, rows: usize) -> Result<RecordBatch> {
        let (fields, schema) = self.fields(&[])?;
        let mut parts = Vec::new();
        let (mut left, mut bytes) = (rows, 0);
        for (number, (file, content)) in self.files.iter().enumerate() {
            let share = left.div_ceil(self.files.len() - number);
            let found = match content {
                Content::Text(text) => text::sample(&file.path, file.bytes, text, &schema, share),
                Content::Parquet(parquet) => parquet_sample(parquet, file, &fields, &schema, share),
            };
            file.unchanged()?;
            let found = found?;
            left -= found.iter().map(RecordBatch::num_rows).sum::<usize>().min(left);
            bytes += found.iter().map(batch_bytes).sum::<usize>();
            parts.extend(found);
            if left == 0 || bytes >= SAMPLE_BYTES {
                break;
            }
        }
        Ok(arrow_select::concat::concat_batches(&schema, &parts)?)
    }

    /// Everything that can be read on its own, in order, with its weight in bytes.
    fn pieces(&self, parallelism: usize) -> Result<Vec<(Piece, u64)>> {
        let total: u64 = self.files.iter().map(|(file, _)| file.bytes).sum();
        let share = total.div_ceil(u64::try_from(parallelism.max(1)).unwrap_or(1)).max(MIN_SPLIT);
        let mut pieces = Vec::new();
        for (file, content) in &self.files {
            let piece = |span| Piece { file: file.name.clone(), bytes: file.bytes, span };
            match content {
                Content::Parquet(parquet) => {
                    for (group, bytes) in parquet.group_bytes().into_iter().enumerate() {
                        pieces.push((piece(Span::Groups(vec![group])), bytes));
                    }
                }
                Content::Text(text) => {
                    let mut start = text.data_start;
                    while text.splittable() && file.bytes - start > share + share / 2 {
                        let end = text::block::line_start(&file.path, start + share, file.bytes)?;
                        pieces.push((piece(Span::Bytes { start, end }), end - start));
                        start = end;
                    }
                    pieces.push((piece(Span::Bytes { start, end: file.bytes }), file.bytes - start));
                }
            }
        }
        Ok(pieces)
    }
}

fn parquet_sample(
    parquet: &ParquetTable,
    file: &DataFile,
    fields: &[usize],
    schema: &SchemaRef,
    rows: usize,
) -> Result<Vec<RecordBatch>> {
    let groups = parquet.group_bytes().len();
    let mut chosen: Vec<usize> = [0, groups / 2, groups.saturating_sub(1)].into();
    chosen.retain(|group| *group < groups);
    chosen.dedup();
    let mut found = Vec::new();
    let mut left = rows;
    for (number, group) in chosen.iter().enumerate() {
        let mut share = left.div_ceil(chosen.len() - number);
        let mut bytes = 0;
        let bounds = (share, SAMPLE_BATCH);
        for batch in parquet.sample(&file.path, *group, fields, Arc::clone(schema), bounds)? {
            let batch = batch?;
            let take = batch.num_rows().min(share);
            bytes += batch_bytes(&batch);
            found.push(batch.slice(0, take));
            share -= take;
            left -= take;
            if share == 0 || bytes >= SAMPLE_BYTES / chosen.len() {
                break;
            }
        }
    }
    Ok(found)
}

/// Bytes of a batch that only a few rows are taken from.
const SAMPLE_BATCH: usize = 256 * 1024;

/// Text is not cut into smaller parts than this: opening one costs more than reading it.
const MIN_SPLIT: u64 = 1024 * 1024;

/// A part of one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Piece {
    file: String,
    /// Size of the file, to notice that a split belongs to another state of it.
    bytes: u64,
    span: Span,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Span {
    /// From the start of a line to the start of a line or the end.
    Bytes { start: u64, end: u64 },
    /// Row groups.
    Groups(Vec<usize>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Part {
    pieces: Vec<Piece>,
}

/// Groups neighbouring pieces into at most `parallelism` parts of like weight.
fn group(pieces: Vec<(Piece, u64)>, parallelism: usize) -> Vec<Part> {
    let total: u64 = pieces.iter().map(|(_, bytes)| bytes).sum();
    let parts = u64::try_from(parallelism.max(1)).unwrap_or(u64::MAX);
    let share = total.div_ceil(parts).max(1);
    let mut grouped: Vec<Part> = vec![Part { pieces: Vec::new() }];
    let mut seen = 0;
    for (piece, bytes) in pieces {
        let number = usize::try_from((seen + bytes / 2) / share).unwrap_or(usize::MAX);
        seen += bytes;
        if number >= grouped.len()
            && grouped.len() < parallelism
            && grouped.last().is_some_and(|p| !p.pieces.is_empty())
        {
            grouped.push(Part { pieces: Vec::new() });
        }
        if let Some(last) = grouped.last_mut() {
            join(&mut last.pieces, piece);
        }
    }
    grouped
}

/// Appends a piece; neighbouring row groups of one file are read together.
fn join(pieces: &mut Vec<Piece>, piece: Piece) {
    if let (Some(Piece { file, span: Span::Groups(groups), .. }), Span::Groups(more)) =
        (pieces.last_mut(), &piece.span)
        && *file == piece.file
    {
        groups.extend(more);
        return;
    }
    pieces.push(piece);
}

/// A session over the files of one table.
#[derive(Debug)]
pub(crate) struct FileSession {
    files: Arc<Files>,
}

impl FileSession {
    pub(crate) fn new(files: Files) -> Self {
        Self { files: Arc::new(files) }
    }
}

#[async_trait]
impl ReadSession for FileSession {
    fn table(&self) -> &TableSchema {
        &self.files.table
    }

    async fn cursor_summary(&self, column: &str) -> Result<CursorSummary> {
        let own = self.files.table.column(column)?;
        if !CursorValue::supports(&own.data_type) {
            return Err(Error::unsupported(format!(
                "the column `{column}` of type {} cannot be a cursor",
                own.data_type
            ))
            .with("column", column)
            .hint("choose an integer, decimal, date, timestamp or text column"));
        }
        let files = Arc::clone(&self.files);
        let columns = vec![column.to_owned()];
        blocking(move || {
            let pieces = files.pieces(1)?.into_iter().map(|(piece, _)| piece).collect();
            let plan = ReadPlan { columns, ..ReadPlan::default() };
            let mut summary = CursorSummary::default();
            for batch in PieceReader::new(files, pieces, &plan)? {
                summarise(&mut summary, batch?.column(0))?;
            }
            Ok(summary)
        })
        .await
        .operation("cursor summary")
    }

    async fn sample(&self, rows: usize) -> Result<RecordBatch> {
        let files = Arc::clone(&self.files);
        blocking(move || files.sample(rows)).await
    }

    async fn splits(&self, plan: &ReadPlan) -> Result<Vec<Split>> {
        self.files.table.project(&plan.columns)?;
        if let Some(filter) = &plan.filter {
            RowFilter::new(filter, &self.files.table.column(&filter.column)?.data_type)?;
        }
        // Readers that know nothing of each other cannot share a limit.
        let parallelism = if plan.limit.is_some() { 1 } else { plan.parallelism.max(1) };
        let files = Arc::clone(&self.files);
        let parts = blocking(move || Ok(group(files.pieces(parallelism)?, parallelism))).await?;
        let splits = parts.into_iter().enumerate().map(|(index, part)| {
            let part = serde_json::to_value(&part)
                .map_err(|error| Error::internal("a split is not JSON").source_error(error))?;
            Ok(Split { index, plan: plan.clone(), part })
        });
        splits.collect()
    }

    async fn read(&self, split: &Split) -> Result<BatchStream> {
        let part = Part::deserialize(&split.part).map_err(|error| {
            Error::config("the split was not made by the files connector")
                .source_error(error)
                .hint("read it with a session on the connection that planned it")
        })?;
        let files = Arc::clone(&self.files);
        let reader = PieceReader::new(files, part.pieces, &split.plan)?;
        Ok(batches(move || Ok(reader)))
    }

    async fn close(self: Box<Self>) -> Result<()> {
        // Every piece was checked when it ended; there is nothing to release.
        Ok(())
    }
}

/// The number of a file and the rest of what is read of it.
type Open = (usize, Box<dyn Iterator<Item = Result<RecordBatch>> + Send>);

/// Reads pieces one after the other.
struct PieceReader {
    files: Arc<Files>,
    pieces: VecDeque<Piece>,
    current: Option<Open>,
    /// Positions of the columns to read: the wished ones, and the cursor last if it is not among them.
    fields: Vec<usize>,
    schema: SchemaRef,
    filter: Option<(usize, RowFilter)>,
    /// How many of `fields` are handed on.
    wished: usize,
    left: u64,
    batch_bytes: usize,
    /// Pieces of a batch that was larger than wished.
    ready: VecDeque<RecordBatch>,
}

impl PieceReader {
    fn new(files: Arc<Files>, pieces: Vec<Piece>, plan: &ReadPlan) -> Result<Self> {
        let (mut fields, mut schema) = files.fields(&plan.columns)?;
        let wished = fields.len();
        let mut filter = None;
        if let Some(wanted) = &plan.filter {
            let column = files.table.column(&wanted.column)?;
            let (cursor, _) = files.fields(std::slice::from_ref(&wanted.column))?;
            let at = fields.iter().position(|field| cursor.contains(field)).unwrap_or(wished);
            if at == wished {
                fields.extend(cursor);
                let mut names: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
                names.push(wanted.column.clone());
                schema = files.table.arrow_schema_of(&names)?;
            }
            filter = Some((at, RowFilter::new(wanted, &column.data_type)?));
        }
        Ok(Self {
            files,
            pieces: pieces.into(),
            current: None,
            fields,
            schema,
            filter,
            wished,
            left: plan.limit.unwrap_or(u64::MAX),
            batch_bytes: if plan.batch_bytes == 0 { BATCH_BYTES } else { plan.batch_bytes },
            ready: VecDeque::new(),
        })
    }

    fn open(&self, piece: Piece) -> Result<Open> {
        let stranger = || {
            Error::config(format!("the split names {}, which is not in this table", piece.file))
                .hint("plan the splits again with the session that reads them")
        };
        let number = self.files.files.iter().position(|(file, _)| file.name == piece.file);
        let number = number.ok_or_else(stranger)?;
        let (file, content) = self.files.files.get(number).ok_or_else(stranger)?;
        if file.bytes != piece.bytes {
            return Err(crate::error::changed(&file.path));
        }
        file.unchanged()?;
        let opened = self.reader(number, file, content, piece.span);
        if opened.is_err() {
            // A file that went between the look and the opening.
            file.unchanged()?;
        }
        opened
    }

    fn reader(&self, number: usize, file: &DataFile, content: &Content, span: Span) -> Result<Open> {
        let schema = Arc::clone(&self.schema);
        match (content, span) {
            (Content::Text(text), Span::Bytes { start, end }) if start <= end && end <= file.bytes => {
                let text = Arc::clone(text);
                let range = start.max(text.data_start)..end;
                let reader =
                    TextReader::open(&file.path, range, text, &self.fields, schema, self.batch_bytes)?;
                Ok((number, Box::new(reader)))
            }
            (Content::Parquet(parquet), Span::Groups(groups)) => {
                let reader = parquet.read(&file.path, groups, &self.fields, schema, self.batch_bytes)?;
                Ok((number, Box::new(reader)))
            }
            _ => Err(Error::config(format!("the split does not fit {}", file.name))
                .hint("plan the splits again with the session that reads them")),
        }
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let Some((number, reader)) = &mut self.current else {
                let Some(piece) = self.pieces.pop_front() else { return Ok(None) };
                self.current = Some(self.open(piece)?);
                continue;
            };
            let number = *number;
            let next = reader.next().transpose();
            if self.left == 0 || !matches!(next, Ok(Some(_))) {
                self.current = None;
                // A change during the read explains a broken line better than the line does.
                if let Some((file, _)) = self.files.files.get(number) {
                    file.unchanged()?;
                }
            }
            let Some(batch) = next? else { continue };
            let batch = self.cut(batch)?;
            if batch.num_rows() > 0 {
                return Ok(Some(batch));
            }
        }
    }

    /// Applies filter, projection and limit.
    fn cut(&mut self, mut batch: RecordBatch) -> Result<RecordBatch> {
        if let Some((at, filter)) = &self.filter {
            batch = filter_record_batch(&batch, &filter.mask(batch.column(*at))?)?;
        }
        if self.wished < self.fields.len() {
            batch = batch.project(&(0..self.wished).collect::<Vec<_>>())?;
        }
        let rows = u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
        if rows > self.left {
            batch = batch.slice(0, usize::try_from(self.left).unwrap_or(usize::MAX));
        }
        self.left = self.left.saturating_sub(rows);
        Ok(batch)
    }

    /// The limit is reached: what was read must still be what the session saw.
    fn finish(&mut self) -> Result<()> {
        self.pieces.clear();
        match self.current.take().and_then(|(number, _)| self.files.files.get(number)) {
            Some((file, _)) => file.unchanged(),
            None => Ok(()),
        }
    }
}

impl Iterator for PieceReader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(piece) = self.ready.pop_front() {
            return Some(Ok(piece));
        }
        if self.left == 0 {
            return self.finish().err().map(Err);
        }
        let next = self.next_batch();
        if let Ok(Some(batch)) = &next
            && batch_bytes(batch) > self.batch_bytes.saturating_mul(2)
        {
            // Rows are counted by the mean of whole row groups; some are much wider than that.
            self.ready.extend(split_by_bytes(batch, self.batch_bytes));
            return self.ready.pop_front().map(Ok);
        }
        if next.is_err() {
            self.pieces.clear();
            self.current = None;
        }
        next.transpose()
    }
}
