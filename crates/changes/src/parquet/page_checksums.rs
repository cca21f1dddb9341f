//! Adds a checksum to each page of a Parquet file. The Parquet library checks such checksums, and cannot
//! write them. So its file is copied, and the header of each page gets one more field:
//!
//! ```text
//!   header of a page (Thrift, compact)              after
//!   1 type · 2 size · 3 compressed size · 5 ...     1 · 2 · 3 · 4 CRC-32 of the page · 5 ...
//! ```
//!
//! The contract is `parquet.thrift` of apache/parquet-format: field 4 of `PageHeader` is the CRC-32 of the
//! page as it is stored, without its header.

use std::sync::Arc;

use bytes::Bytes;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{
    ColumnChunkMetaData, OffsetIndexBuilder, PageIndexPolicy, ParquetMetaDataReader,
};
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;

/// The header of a Thrift field of the type i32 whose number is one more than that of the field before.
const NEXT_I32: u8 = 0x15;

/// Copies a file and adds a checksum to each page. The properties are those of the file.
///
/// # Errors
/// The file is not one that the Parquet library has just written.
pub(super) fn add(file: &Bytes, properties: WriterProperties) -> Result<Bytes> {
    let metadata = ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Required)
        .parse_and_finish(file)?;
    let schema = metadata.file_metadata().schema_descr().root_schema_ptr();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?;
    for pair in metadata
        .file_metadata()
        .key_value_metadata()
        .into_iter()
        .flatten()
    {
        writer.append_key_value_metadata(pair.clone());
    }
    for (at, group) in metadata.row_groups().iter().enumerate() {
        let index = metadata.page_index_for_row_group(at);
        let mut rows = writer.next_row_group()?;
        for (at, chunk) in group.columns().iter().enumerate() {
            let offsets = index.offset_index(at).ok_or_else(unexpected)?;
            let (bytes, metadata, offset_index) = copy_chunk(file, chunk, offsets, group.num_rows())?;
            let close = ColumnCloseResult {
                bytes_written: bytes.len() as u64,
                rows_written: u64::try_from(group.num_rows()).map_err(|_| unexpected())?,
                metadata,
                bloom_filter: None,
                column_index: index.column_index(at).cloned(),
                offset_index: Some(offset_index),
            };
            rows.append_column(&bytes, close)?;
        }
        rows.close()?;
    }
    Ok(writer.into_inner()?.into())
}

fn unexpected() -> ParquetError {
    ParquetError::General("the pages of a new file are not where its index says".to_owned())
}

/// Copies the pages of a column chunk. Returns them, and their description relative to their beginning.
fn copy_chunk(
    file: &Bytes,
    chunk: &ColumnChunkMetaData,
    offsets: &OffsetIndexMetaData,
    rows: i64,
) -> Result<(Bytes, ColumnChunkMetaData, OffsetIndexMetaData)> {
    let mut copied = Vec::new();
    let mut dictionary_offset = None;
    if let Some(begin) = chunk.dictionary_page_offset() {
        copy_page(file, begin, chunk.data_page_offset() - begin, &mut copied)?;
        dictionary_offset = Some(0);
    }
    let data_offset = to_i64(copied.len())?;
    let mut index = OffsetIndexBuilder::new();
    let sizes = offsets.unencoded_byte_array_data_bytes();
    let pages = offsets.page_locations();
    for (at, page) in pages.iter().enumerate() {
        let begin = to_i64(copied.len())?;
        copy_page(file, page.offset, page.compressed_page_size.into(), &mut copied)?;
        let bytes = to_i64(copied.len())? - begin;
        index.append_offset_and_size(begin, i32::try_from(bytes).map_err(|_| unexpected())?);
        let next_row = pages.get(at + 1).map_or(rows, |next| next.first_row_index);
        index.append_row_count(next_row - page.first_row_index);
        index.append_unencoded_byte_array_data_bytes(sizes.and_then(|sizes| sizes.get(at)).copied());
    }
    let bytes = to_i64(copied.len())?;
    let metadata = chunk
        .clone()
        .into_builder()
        .set_dictionary_page_offset(dictionary_offset)
        .set_data_page_offset(data_offset)
        .set_total_uncompressed_size(chunk.uncompressed_size() + bytes - chunk.compressed_size())
        .set_total_compressed_size(bytes)
        .build()?;
    Ok((copied.into(), metadata, index.build()))
}

fn to_i64(number: usize) -> Result<i64> {
    i64::try_from(number).map_err(|_| unexpected())
}

/// Copies one page with its header, and adds its checksum to the header.
fn copy_page(file: &Bytes, begin: i64, bytes: i64, copied: &mut Vec<u8>) -> Result<()> {
    let begin = usize::try_from(begin).map_err(|_| unexpected())?;
    let end = begin + usize::try_from(bytes).map_err(|_| unexpected())?;
    let page = file.get(begin..end).ok_or_else(unexpected)?;
    // The type, the size, and the compressed size.
    let (mut at, mut compressed) = (0, 0);
    for _ in 0..3 {
        if page.get(at) != Some(&NEXT_I32) {
            return Err(unexpected());
        }
        (compressed, at) = read_i32(page, at + 1)?;
    }
    let compressed = usize::try_from(compressed).map_err(|_| unexpected())?;
    let data = page
        .len()
        .checked_sub(compressed)
        .and_then(|header| page.get(header..));
    let crc = crc32fast::hash(data.ok_or_else(unexpected)?);
    copied.extend_from_slice(&page[..at]);
    copied.push(NEXT_I32);
    write_i32(crc.cast_signed(), copied);
    // The upper half of the next field's first byte is its distance to the field before it: field 4 instead
    // of field 3.
    let next = page.get(at).ok_or_else(unexpected)?;
    if next >> 4 < 2 {
        return Err(unexpected());
    }
    copied.push(next - 0x10);
    copied.extend_from_slice(&page[at + 1..]);
    Ok(())
}

/// Reads a zigzag number of variable length. Returns it and the place after it.
fn read_i32(bytes: &[u8], mut at: usize) -> Result<(i32, usize)> {
    let mut number = 0_u32;
    for shift in (0..35).step_by(7) {
        let byte = *bytes.get(at).ok_or_else(unexpected)?;
        at += 1;
        number |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let magnitude = (number >> 1).cast_signed();
            return Ok((magnitude ^ -(number & 1).cast_signed(), at));
        }
    }
    Err(unexpected())
}

fn write_i32(number: i32, to: &mut Vec<u8>) {
    let mut zigzag = ((number << 1) ^ (number >> 31)).cast_unsigned();
    while zigzag >= 0x80 {
        to.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    to.push(zigzag as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_are_written() {
        for number in [0, 1, -1, 63, 64, -64, -65, 1_000_000, i32::MAX, i32::MIN] {
            let mut bytes = Vec::new();
            write_i32(number, &mut bytes);
            assert_eq!(read_i32(&bytes, 0).unwrap(), (number, bytes.len()));
        }
        assert!(read_i32(&[0x80], 0).is_err());
        assert!(read_i32(&[0xff; 9], 0).is_err());
    }
}
