//! Zip archives whose entries are stored as they are, at multiples of 64 bytes, of any size.
//!
//! Format: PKWARE's APPNOTE 6.3.10. Torch's reader takes the first field of sizes above 4 GiB that it
//! finds for an entry, and refuses one where none is needed; the crate that reads archives here writes
//! a second one.

use std::io::{self, Seek, SeekFrom, Write};

use flate2::Crc;

/// Where the data of entries begin.
const ALIGNMENT: u64 = 64;
/// What fields of 4 bytes hold when the number is elsewhere.
const ELSEWHERE: u32 = u32::MAX;
/// The version of the format that has numbers of 8 bytes.
const VERSION: u16 = 45;
const ZIP64: u16 = 1;
/// A field that fills up to where data begin; its number is the one that torch uses.
const PADDING: u16 = u16::from_le_bytes(*b"FB");

/// An archive that is being written.
pub(crate) struct StoredZip<W> {
    out: W,
    offset: u64,
    entries: Vec<Entry>,
}

struct Entry {
    name: String,
    offset: u64,
    length: u64,
    checksum: u32,
}

impl<W: Write + Seek> StoredZip<W> {
    /// An archive without entries, from where `out` stands.
    pub(crate) fn new(out: W) -> Self {
        Self { out, offset: 0, entries: Vec::new() }
    }

    /// Writes an entry of `length` bytes, which `write` gives to the sink that it is called with.
    pub(crate) fn entry<E>(
        &mut self,
        name: &str,
        length: u64,
        failed: &impl Fn(io::Error) -> E,
        write: impl FnOnce(&mut Sink<'_, W>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut entry = Entry { name: name.to_owned(), offset: self.offset, length, checksum: 0 };
        let header = entry.local();
        self.out.write_all(&header).map_err(failed)?;
        let mut sink = Sink { out: &mut self.out, checksum: Crc::new(), written: 0 };
        write(&mut sink)?;
        if sink.written != length {
            let found = sink.written;
            return Err(failed(io::Error::other(format!("{name}: {found} bytes of {length}"))));
        }
        entry.checksum = sink.checksum.sum();
        self.offset += header.len() as u64 + length;
        self.mend(&entry).map_err(failed)?;
        self.entries.push(entry);
        Ok(())
    }

    /// Writes the header again, the checksum being known.
    fn mend(&mut self, entry: &Entry) -> io::Result<()> {
        self.out.seek(SeekFrom::Start(entry.offset))?;
        self.out.write_all(&entry.local())?;
        self.out.seek(SeekFrom::Start(self.offset)).map(drop)
    }

    /// Writes the directory.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        let directory: Vec<u8> = self.entries.iter().flat_map(Entry::central).collect();
        self.out.write_all(&directory)?;
        let (count, length) = (self.entries.len() as u64, directory.len() as u64);
        let is_large = self.offset >= ELSEWHERE.into() || count >= u16::MAX.into();
        if is_large {
            let mut end = b"PK\x06\x06".to_vec();
            // The length of the rest of the record.
            end.extend(44_u64.to_le_bytes());
            end.extend([VERSION.to_le_bytes(), VERSION.to_le_bytes()].concat());
            end.extend([0; 8]);
            for number in [count, count, length, self.offset] {
                end.extend(number.to_le_bytes());
            }
            end.extend(b"PK\x06\x07\0\0\0\0");
            end.extend((self.offset + length).to_le_bytes());
            end.extend(1_u32.to_le_bytes());
            self.out.write_all(&end)?;
        }
        let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
        let count = (count.min(u16::MAX.into()) as u16).to_le_bytes();
        end.extend([count, count].concat());
        end.extend((length as u32).to_le_bytes());
        end.extend(short(self.offset).to_le_bytes());
        end.extend([0; 2]);
        self.out.write_all(&end)
    }
}

/// A number where it has 4 bytes.
fn short(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(ELSEWHERE)
}

impl Entry {
    /// The numbers of 8 bytes that are needed, as a field; nothing if none is.
    fn large(numbers: &[u64]) -> Vec<u8> {
        let needed: Vec<u8> = numbers
            .iter()
            .filter(|number| **number >= ELSEWHERE.into())
            .flat_map(|number| number.to_le_bytes())
            .collect();
        if needed.is_empty() { needed } else { field(ZIP64, &needed) }
    }

    /// What the two headers of an entry have in common.
    fn common(&self) -> Vec<u8> {
        let mut header = VERSION.to_le_bytes().to_vec();
        // No flags, not compressed, no time, the first day that there is.
        header.extend([0, 0, 0, 0, 0, 0, 0x21, 0]);
        header.extend(self.checksum.to_le_bytes());
        header
            .extend([short(self.length).to_le_bytes(), short(self.length).to_le_bytes()].concat());
        header.extend((self.name.len() as u16).to_le_bytes());
        header
    }

    /// The header before the data, which ends at a multiple of the alignment.
    fn local(&self) -> Vec<u8> {
        let mut extra = Self::large(&[self.length, self.length]);
        let fixed = 30 + self.name.len() as u64;
        // A field has 4 bytes before what it holds.
        let end = self.offset + fixed + extra.len() as u64 + 4;
        extra.extend(field(PADDING, &vec![0; (end.next_multiple_of(ALIGNMENT) - end) as usize]));
        let mut header = [b"PK\x03\x04", &self.common()[..]].concat();
        header.extend((extra.len() as u16).to_le_bytes());
        header.extend([self.name.as_bytes(), &extra].concat());
        header
    }

    /// The entry in the directory.
    fn central(&self) -> Vec<u8> {
        let extra = Self::large(&[self.length, self.length, self.offset]);
        let mut header = [b"PK\x01\x02", &VERSION.to_le_bytes()[..], &self.common()].concat();
        header.extend((extra.len() as u16).to_le_bytes());
        // No comment, the first disk, no attributes.
        header.extend([0; 10]);
        header.extend(short(self.offset).to_le_bytes());
        header.extend([self.name.as_bytes(), &extra].concat());
        header
    }
}

fn field(number: u16, contents: &[u8]) -> Vec<u8> {
    let length = (contents.len() as u16).to_le_bytes();
    [&number.to_le_bytes(), &length, contents].concat()
}

/// Where the bytes of an entry go.
pub(crate) struct Sink<'a, W> {
    out: &'a mut W,
    checksum: Crc,
    written: u64,
}

impl<W: Write> Write for Sink<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.checksum.update(&bytes[..written]);
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use zip::ZipArchive;

    use super::*;

    /// A file of zeros, of which only what is not zero is kept.
    #[derive(Default)]
    struct Sparse {
        parts: Vec<(u64, Vec<u8>)>,
        place: u64,
    }

    impl Write for Sparse {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if bytes.iter().any(|byte| *byte != 0) {
                self.parts.push((self.place, bytes.to_vec()));
            }
            self.place += bytes.len() as u64;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Seek for Sparse {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            if let SeekFrom::Start(place) = to {
                self.place = place;
            }
            Ok(self.place)
        }
    }

    #[test]
    fn entries_are_read_back_and_aligned() {
        let mut out = Cursor::new(Vec::new());
        let mut archive = StoredZip::new(&mut out);
        for (name, contents) in [("a", &b"first"[..]), ("b/c", b""), ("d", &[7; 100])] {
            let length = contents.len() as u64;
            archive.entry(name, length, &|e| e, |sink| sink.write_all(contents)).unwrap();
        }
        archive.finish().unwrap();
        let mut archive = ZipArchive::new(out).unwrap();
        let mut read = |name: &str| {
            let mut contents = Vec::new();
            let mut entry = archive.by_name(name).unwrap();
            assert_eq!(entry.data_start().unwrap() % ALIGNMENT, 0);
            entry.read_to_end(&mut contents).unwrap();
            contents
        };
        assert_eq!((read("a"), read("b/c"), read("d")), (b"first".to_vec(), vec![], vec![7; 100]));
    }

    #[test]
    fn an_entry_of_another_length_than_told_is_an_error() {
        let mut archive = StoredZip::new(Cursor::new(Vec::new()));
        let short = archive.entry("e", 2, &|e| e, |sink| sink.write_all(b"1")).unwrap_err();
        assert!(short.to_string().contains("e: 1 bytes of 2"));
    }

    /// The header of a large entry has its sizes once, in a field; so has one that begins far behind.
    #[test]
    fn what_is_large_is_told_once() {
        let large = Entry { name: "a".into(), offset: 0, length: 5 << 30, checksum: 1 };
        let sizes = [(5_u64 << 30).to_le_bytes(), (5_u64 << 30).to_le_bytes()].concat();
        let expected = [&[1, 0, 16, 0], &sizes[..]].concat();
        assert_eq!(large.local()[31..51], expected);
        assert_eq!(large.central()[47..], expected);
        let far = Entry { name: "b".into(), offset: 6 << 30, length: 3, checksum: 1 };
        assert!(far.local()[31..].starts_with(b"FB"));
        assert_eq!(far.central()[47..], [&[1, 0, 8, 0], &(6_u64 << 30).to_le_bytes()[..]].concat());

        let mut out = Sparse::default();
        let mut archive = StoredZip::new(&mut out);
        let zeros = vec![0; 1 << 20];
        let write = |sink: &mut Sink<'_, _>| (0..4100).try_for_each(|_| sink.write_all(&zeros));
        archive.entry("zeros", 4100 << 20, &|e| e, write).unwrap();
        archive.entry("end", 3, &|e| e, |sink| sink.write_all(b"end")).unwrap();
        archive.finish().unwrap();
        let (place, _) = out.parts.iter().find(|(_, part)| part == b"end").unwrap();
        assert!(*place > 4100 << 20 && place % ALIGNMENT == 0);
        assert!(out.parts.iter().any(|(_, part)| part.starts_with(b"PK\x06\x06")));
    }
}
