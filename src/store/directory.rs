//! Where the store of a task lives on disk: `<state directory>/<instance>/<application>/<partition>/`, one process at a time.
//!
//! ```text
//! ../LOCK                of the instance, held while it runs
//! <partition>/LOCK       held while a process uses the directory; the system lets go of it when the process dies
//! <partition>/VERSION    format of everything below, as text
//! <partition>/db/        RocksDB's files
//! <partition>.corrupt-1  a directory put aside, so that somebody can look at it
//! ```

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::store::{StoreError, layout};

/// Corrupt directories kept beside a task's own; further ones are deleted, so that a bad disk does not fill itself.
const KEPT: u32 = 4;
/// What is said of a directory that somebody else has claimed.
pub const HELD: &str = "another process holds it";
const VERSION_TEXT: &str = "tidegate state format ";

/// Claims what an instance keeps on this machine: `<state directory>/<instance>/<application>/LOCK`, before it connects, so that a second process of
/// the same name ends without having taken the first one's place in the group.
///
/// # Errors
/// When another process holds it, or the disk refuses.
pub fn claim_instance(state_dir: &Path) -> io::Result<File> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir)?;
    let lock = lock_file(state_dir)?;
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => io::Error::other("another process runs as this instance"),
        TryLockError::Error(error) => error,
    })?;
    Ok(lock)
}

fn lock_file(directory: &Path) -> io::Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join("LOCK"))
}

/// A claimed directory: no other process can claim it while this value lives.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    task: i32,
    _lock: File,
}

impl Directory {
    /// Claims the directory of partition `task`, made on demand, readable by its owner only.
    ///
    /// # Errors
    /// `Io` when another process holds it or the disk refuses; `Foreign` when a newer version wrote it; `Corrupt` when its version
    /// cannot be read.
    pub fn claim(state_dir: &Path, application: &str, task: i32) -> Result<Self, StoreError> {
        let directory = Self::claim_any(state_dir, application, task)?;
        directory.check_version()?;
        Ok(directory)
    }

    /// As [`Self::claim`], whatever is in it: to put it aside or delete it.
    ///
    /// # Errors
    /// `Io` when another process holds it or the disk refuses.
    pub fn claim_any(state_dir: &Path, application: &str, task: i32) -> Result<Self, StoreError> {
        let path = path(state_dir, application, task);
        let failed = |error: io::Error| io_error(task, "open", &error);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path.join("db"))
            .map_err(failed)?;
        let lock = lock_file(&path).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StoreError::Io {
                task,
                attempted: "open",
                what: HELD.into(),
            },
            TryLockError::Error(error) => failed(error),
        })?;
        Ok(Self {
            path,
            task,
            _lock: lock,
        })
    }

    /// Where RocksDB's files go.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.path.join("db")
    }

    fn check_version(&self) -> Result<(), StoreError> {
        let file = self.path.join("VERSION");
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = format!("{VERSION_TEXT}{}\n", layout::FORMAT);
                return fs::write(&file, text)
                    .map_err(|error| io_error(self.task, "write", &error));
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
            Err(error) => return Err(io_error(self.task, "read", &error)),
        };
        match text
            .strip_prefix(VERSION_TEXT)
            .map(|version| version.trim().parse::<u32>())
        {
            Some(Ok(version)) if version == u32::from(layout::FORMAT) => Ok(()),
            Some(Ok(version)) => Err(StoreError::Foreign {
                task: self.task,
                what: format!(
                    "{} has state format {version}, this version reads {}; run the version that wrote it, or delete the directory to have \
                     it built anew from the changelog",
                    self.path.display(),
                    layout::FORMAT
                ),
            }),
            Some(Err(_)) | None => Err(StoreError::Corrupt {
                task: self.task,
                what: format!(
                    "{} is unreadable; `run` puts the directory aside and builds it anew from the changelog",
                    file.display()
                ),
            }),
        }
    }

    /// Puts the directory aside as `<partition>.corrupt-<n>`, n the first free number, and tells where it went; deletes it instead
    /// when enough of them are kept. Close the store first.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn quarantine(self) -> Result<Option<PathBuf>, StoreError> {
        let name = self.path.clone().into_os_string();
        for n in 1..=KEPT {
            let mut aside = name.clone();
            aside.push(format!(".corrupt-{n}"));
            let aside = PathBuf::from(aside);
            if !aside.exists() {
                fs::rename(&self.path, &aside)
                    .map_err(|error| io_error(self.task, "put aside", &error))?;
                return Ok(Some(aside));
            }
        }
        self.delete()?;
        Ok(None)
    }

    /// Deletes the directory and all that is in it. Close the store first.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn delete(self) -> Result<(), StoreError> {
        fs::remove_dir_all(&self.path).map_err(|error| io_error(self.task, "delete", &error))
    }
}

fn path(state_dir: &Path, application: &str, task: i32) -> PathBuf {
    state_dir.join(application).join(task.to_string())
}

fn io_error(task: i32, attempted: &'static str, error: &io::Error) -> StoreError {
    StoreError::Io {
        task,
        attempted,
        what: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of this test alone, gone when it ends.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tidegate-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn a_directory_has_one_owner_and_is_closed_to_strangers() {
        use std::os::unix::fs::PermissionsExt;
        let root = Scratch::new("owner");
        let held = Directory::claim(&root.0, "shop", 3).unwrap();
        let refused = Directory::claim(&root.0, "shop", 3).unwrap_err();
        assert!(refused.to_string().contains("another process"), "{refused}");
        drop(held);
        Directory::claim(&root.0, "shop", 3).unwrap();
        for part in ["shop", "shop/3", "shop/3/db"] {
            let mode = fs::metadata(root.0.join(part))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o700, "{part}");
        }
    }

    #[test]
    fn a_newer_or_unreadable_version_is_refused_and_can_be_put_aside() {
        let root = Scratch::new("version");
        Directory::claim(&root.0, "shop", 0).unwrap();
        let version = root.0.join("shop/0/VERSION");
        fs::write(&version, "tidegate state format 9\n").unwrap();
        assert!(matches!(
            Directory::claim(&root.0, "shop", 0),
            Err(StoreError::Foreign { .. })
        ));
        for n in 1..=KEPT + 1 {
            fs::write(&version, "????").unwrap();
            assert!(matches!(
                Directory::claim(&root.0, "shop", 0),
                Err(StoreError::Corrupt { .. })
            ));
            let aside = Directory::claim_any(&root.0, "shop", 0)
                .and_then(Directory::quarantine)
                .unwrap();
            let expected = root.0.join(format!("shop/0.corrupt-{n}"));
            assert_eq!(aside, (n <= KEPT).then_some(expected));
            Directory::claim(&root.0, "shop", 0).unwrap();
        }
    }
}
