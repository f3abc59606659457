//! Where text goes: the terminal, or a pipe that may be closed at any time.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Standard output, or standard error where a report in JSON takes the former.
///
/// A reader that has seen enough (`| head`) is no error: what follows is dropped,
/// and the command still ends with the status it has earned.
pub struct Out {
    stream: Box<dyn Write>,
    closed: bool,
}

impl Out {
    pub fn stdout() -> Self {
        Self::to(Box::new(anstream::stdout()))
    }
    pub fn stderr() -> Self {
        Self::to(Box::new(anstream::stderr()))
    }
    fn to(stream: Box<dyn Write>) -> Self {
        Out {
            stream,
            closed: false,
        }
    }
    fn quiet<T>(&mut self, result: io::Result<T>, dropped: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(dropped)
            }
            result => result,
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.closed {
            return Ok(bytes.len());
        }
        let result = self.stream.write(bytes);
        self.quiet(result, bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let result = self.stream.flush();
        self.quiet(result, ())
    }
}

/// A line on standard error, where nobody may be listening: there is no place
/// left to complain of that.
pub fn note(line: &str) {
    let _ = writeln!(anstream::stderr(), "{line}");
}

/// Where a report in JSON or XML will go. It is opened before the work begins,
/// so that an hour's campaign is not lost to a misspelt directory.
pub enum Sink {
    Stdout,
    File { path: PathBuf, file: std::fs::File },
}

impl Sink {
    /// `-` is standard output. An existing file keeps its content until
    /// [`Sink::write`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        if path == Path::new("-") {
            return Ok(Sink::Stdout);
        }
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(Error::io("write", path))?;
        Ok(Sink::File {
            path: path.to_owned(),
            file,
        })
    }

    /// For what is too large to be held in memory: written as it comes.
    pub fn into_stream(self) -> Result<Stream, Error> {
        Ok(match self {
            Sink::Stdout => Stream::new(
                PathBuf::from("-"),
                Box::new(Out::to(Box::new(io::stdout()))),
            ),
            Sink::File { path, file } => {
                let is_file = file.metadata().map(|meta| meta.is_file());
                if is_file.map_err(Error::io("write", &path))? {
                    file.set_len(0).map_err(Error::io("write", &path))?;
                }
                Stream::new(path, Box::new(file))
            }
        })
    }

    pub fn write(self, bytes: &[u8]) -> Result<(), Error> {
        match self {
            Sink::Stdout => {
                let mut out = Out::to(Box::new(io::stdout()));
                out.write_all(bytes)?;
                out.flush()?;
            }
            Sink::File { path, mut file } => {
                let mut replace = || -> io::Result<()> {
                    // A pipe or a device has no length to set.
                    if file.metadata()?.is_file() {
                        file.set_len(0)?;
                    }
                    file.write_all(bytes)
                };
                replace().map_err(Error::io("write", path))?;
            }
        }
        Ok(())
    }
}

/// An open sink that is written piece by piece.
pub struct Stream {
    path: PathBuf,
    writer: io::BufWriter<Box<dyn Write>>,
}

impl Stream {
    fn new(path: PathBuf, writer: Box<dyn Write>) -> Self {
        Stream {
            path,
            writer: io::BufWriter::new(writer),
        }
    }

    pub fn put(&mut self, text: &str) -> Result<(), Error> {
        let written = self.writer.write_all(text.as_bytes());
        written.map_err(Error::io("write", &self.path))
    }

    pub fn finish(mut self) -> Result<(), Error> {
        self.writer.flush().map_err(Error::io("write", &self.path))
    }
}

/// The sinks of `--json` and `--junit`, and the stream that is left for people.
pub struct Outputs {
    pub json: Option<Sink>,
    pub junit: Option<Sink>,
    pub out: Out,
}

impl Outputs {
    pub fn open(json: Option<&Path>, junit: Option<&Path>) -> Result<Self, Error> {
        if let (Some(json), Some(junit)) = (json, junit)
            && json == junit
        {
            return Err(Error::SamePlace(json.to_owned()));
        }
        let json = json.map(Sink::open).transpose()?;
        let junit = junit.map(Sink::open).transpose()?;
        let on_stdout = |sink: &Option<Sink>| matches!(sink, Some(Sink::Stdout));
        let out = match (on_stdout(&json), on_stdout(&junit)) {
            (false, false) => Out::stdout(),
            _ => Out::stderr(),
        };
        Ok(Outputs { json, junit, out })
    }
}
