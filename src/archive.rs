//! Compressed files, known by how their names end: an export writes them, and an import reads them in memory that does
//! not grow with them.
//!
//! gzip is for exchange with whatever there is, zstd for less time and less room. Both are read by their own libraries
//! whole: all members of a gzip file and all frames of a zstd file, one after the other.

use flate2::Compression as Level;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use std::io::{self, BufRead, BufReader, Write};
use std::mem::ManuallyDrop;
use std::path::Path;

/// How many bytes of a beginning are enough to tell what an archive is.
pub(crate) const SIGNATURE_BYTES: usize = 4;

/// Bytes that are decompressed at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// The level of zstd: its own default, at which it is faster than a server sends.
const ZSTD_LEVEL: i32 = 3;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// What is wrong with an archive that cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    /// It is cut off.
    #[error("the archive is cut off: it ends before its end")]
    CutOff,
    /// It was compressed for readers with more memory.
    #[error(
        "the archive takes more than 128 MiB to decompress: zstd -dc --long=31 FILE | kvstore import -"
    )]
    TooWide,
    /// It is not as it was written.
    #[error("the archive is damaged ({0})")]
    Damaged(String),
}

impl Compression {
    /// How the file of a name is compressed. One that an export is about to rename, or left, counts as what it would be.
    pub(crate) fn of(path: &Path) -> Self {
        let path = match path.extension() {
            Some(end) if end == "part" => Path::new(path.file_stem().unwrap_or_default()),
            Some(_) | None => path,
        };
        match path.extension().and_then(|end| end.to_str()) {
            Some(end) if end.eq_ignore_ascii_case("gz") => Self::Gzip,
            Some(end) if end.eq_ignore_ascii_case("zst") => Self::Zstd,
            Some(_) | None => Self::None,
        }
    }

    /// What a file of this kind is called.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::None => "a file that is not compressed",
            Self::Gzip => "an archive of gzip",
            Self::Zstd => "an archive of zstd",
        }
    }

    /// Whether a file of this kind may begin so.
    pub(crate) fn may_begin(self, beginning: &[u8]) -> bool {
        match self {
            Self::None => true,
            Self::Gzip => beginning.starts_with(b"\x1f\x8b"),
            // A frame, or one that is to be skipped, as some programs put first.
            Self::Zstd => matches!(
                beginning,
                [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]
            ),
        }
    }

    /// Decompresses an input.
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub(crate) fn decoder(self, input: Box<dyn BufRead>) -> io::Result<Box<dyn BufRead>> {
        Ok(match self {
            Self::None => input,
            Self::Gzip => {
                let decoder = MultiGzDecoder::new(input);
                Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
            }
            Self::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
            }
        })
    }

    /// What an error says of the archive; `None` where it is of the file that the archive is in.
    pub(crate) fn damage(self, error: &io::Error) -> Option<Damage> {
        if self == Self::None || error.raw_os_error().is_some() {
            return None;
        }
        let says = error.to_string();
        Some(match error.kind() {
            io::ErrorKind::UnexpectedEof => Damage::CutOff,
            _ if says.contains("too much memory") => Damage::TooWide,
            _ => Damage::Damaged(says),
        })
    }
}

/// An output that compresses what is written to it.
///
/// One that is dropped before its end stays without it: what reads the archive must see that it is not whole.
pub(crate) enum Encoder<W: Write> {
    Plain(W),
    Gzip(ManuallyDrop<GzEncoder<W>>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    /// Compresses to an output.
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub(crate) fn new(output: W, compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::Plain(output),
            Compression::Gzip => {
                Self::Gzip(ManuallyDrop::new(GzEncoder::new(output, Level::default())))
            }
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(output, ZSTD_LEVEL)?;
                // Without it a reader would not see that a byte was changed.
                encoder.include_checksum(true)?;
                Self::Zstd(encoder)
            }
        })
    }

    /// Writes all of the bytes, sooner or later.
    ///
    /// # Errors
    /// As writing has them.
    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(output) => output.write_all(bytes),
            Self::Gzip(encoder) => encoder.write_all(bytes),
            Self::Zstd(encoder) => encoder.write_all(bytes),
        }
    }

    /// Ends the archive. Nothing may be written after that; to end it again does nothing.
    ///
    /// # Errors
    /// As writing has them.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => {}
            Self::Gzip(encoder) => encoder.try_finish()?,
            Self::Zstd(encoder) => encoder.do_finish()?,
        }
        self.output_mut().flush()
    }

    /// What is written to.
    pub(crate) fn output(&self) -> &W {
        match self {
            Self::Plain(output) => output,
            Self::Gzip(encoder) => encoder.get_ref(),
            Self::Zstd(encoder) => encoder.get_ref(),
        }
    }

    fn output_mut(&mut self) -> &mut W {
        match self {
            Self::Plain(output) => output,
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::{Cursor, Read};

    const BOTH: [Compression; 2] = [Compression::Gzip, Compression::Zstd];

    fn compressed(compression: Compression, pieces: &[&[u8]]) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new(), compression).unwrap();
        for piece in pieces {
            encoder.write_all(piece).unwrap();
        }
        encoder.finish().unwrap();
        let length = encoder.output().len();
        encoder.finish().unwrap();
        assert_eq!(encoder.output().len(), length);
        encoder.output().clone()
    }

    fn read(compression: Compression, archive: &[u8]) -> Result<Vec<u8>, Damage> {
        let input = Box::new(Cursor::new(archive.to_vec()));
        let mut decoder = compression.decoder(input).unwrap();
        let mut text = Vec::new();
        match decoder.read_to_end(&mut text) {
            Ok(_) => Ok(text),
            Err(error) => Err(compression.damage(&error).unwrap()),
        }
    }

    #[test]
    fn a_name_says_how_its_file_is_compressed() {
        for (name, expected) in [
            ("a.ndjson", Compression::None),
            ("a.ndjson.gz", Compression::Gzip),
            ("a.GZ", Compression::Gzip),
            ("/tmp/a.csv.zst", Compression::Zstd),
            ("/tmp/a.csv.zst.part", Compression::Zstd),
            ("a.gz.old", Compression::None),
            ("gz", Compression::None),
            (".gz", Compression::None),
            ("a.part", Compression::None),
            ("-", Compression::None),
        ] {
            assert_eq!(Compression::of(Path::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn what_is_cut_off_or_changed_is_told_from_what_is_whole() {
        let text: Vec<u8> = (0_u32..20_000)
            .flat_map(|number| number.to_string().into_bytes())
            .collect();
        for compression in BOTH {
            let whole = compressed(compression, &[&text]);
            assert!(compression.may_begin(&whole));
            assert_eq!(read(compression, &whole).as_ref(), Ok(&text));
            for length in [1, 5, 9, 12, whole.len() / 2, whole.len() - 1] {
                let cut = read(compression, &whole[..length]);
                assert_eq!(cut, Err(Damage::CutOff), "{compression:?}, {length} bytes");
            }
            let mut changed = whole.clone();
            let last = changed.len() - 1;
            changed[last] ^= 1;
            let changed = read(compression, &changed);
            assert!(matches!(changed, Err(Damage::Damaged(_))), "{changed:?}");
            let trailed = [&whole[..], b"more of something else"].concat();
            let trailed = read(compression, &trailed);
            assert!(matches!(trailed, Err(Damage::Damaged(_))), "{trailed:?}");
        }
    }

    #[test]
    fn what_is_dropped_before_its_end_has_none() {
        for compression in BOTH {
            let mut written = Vec::new();
            let mut encoder = Encoder::new(&mut written, compression).unwrap();
            encoder.write_all(b"some of it").unwrap();
            drop(encoder);
            assert_eq!(read(compression, &written).err(), Some(Damage::CutOff));
        }
    }

    proptest! {
        #[test]
        fn archives_one_after_the_other_are_read_as_one(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..5),
        ) {
            for compression in BOTH {
                let archives: Vec<u8> = parts
                    .iter()
                    .flat_map(|part| compressed(compression, &[part, part]))
                    .collect();
                let twice: Vec<u8> = parts.iter().flat_map(|part| [&part[..], part].concat()).collect();
                prop_assert_eq!(read(compression, &archives), Ok(twice));
            }
        }
    }
}
