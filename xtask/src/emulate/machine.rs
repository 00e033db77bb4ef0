//! The emulated computer: what it is made of on this machine, its disc, and its serial line.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::guest::{ENDED, NOT_RUN};

const BIOS: &str = "/usr/share/bochs/BIOS-bochs-latest";
const VGA_BIOS: &str = "/usr/share/bochs/VGABIOS-lgpl-latest";
const GRUB: &str = "/usr/lib/grub/i386-pc";

/// Ice Lake: the first model of Bochs with both AVX-512 IFMA and GFNI.
const MODEL: &str = "corei7_icelake_u";
/// The largest test holds a few tens of megabytes; the rest is the kernel and its first file system.
const MEGABYTES: u32 = 1024;
/// Instructions a second by Bochs's clock: devices and timers only. Lower would mean more of them a tick.
const INSTRUCTIONS_A_SECOND: u32 = 50_000_000;
/// A loaded machine emulates 20 million instructions a second; a test that needs more than 70 billion is too large here.
const DEADLINE: Duration = Duration::from_secs(60 * 60);
/// How often the serial line is looked at.
const GLANCE: Duration = Duration::from_millis(200);

/// `clearcpuid`: without "fast string" (Bochs's BIOS leaves it off) a kernel with `fsrm` but no `erms` overruns in
/// memmove; Bochs 2.7 leaves `pku` out of the layout of `xsave`, and the kernel then switches AVX off. None of them
/// matters to a test. The others save time or keep the kernel silent.
const KERNEL_WORDS: &str = "console=ttyS0,115200 quiet loglevel=1 nokaslr nopku clearcpuid=fsrm,pku,ospke,xsaves,xsavec \
                            mitigations=off lpj=400000 no_timer_check tsc=reliable panic=-1";

/// Displays in order of preference: only a Bochs built by hand has the first, Debian's has the second.
const DISPLAYS: [&str; 2] = ["nogui", "term"];

/// What must be on this machine.
pub(super) struct Parts {
    bochs: PathBuf,
    kernel: PathBuf,
}

impl Parts {
    /// Finds all of them, or says which packages to install.
    pub(super) fn find() -> Result<Self, String> {
        let bochs = std::env::var_os("HOLDFAST_BOCHS").map(PathBuf::from).or_else(|| in_path("bochs"));
        let kernel = std::env::var_os("HOLDFAST_EMULATED_KERNEL").map(PathBuf::from).or_else(newest_kernel);
        let present = [
            (bochs.as_deref().is_some_and(Path::is_file), "bochs bochs-term"),
            (Path::new(BIOS).is_file(), "bochsbios"),
            (Path::new(VGA_BIOS).is_file(), "vgabios"),
            (kernel.as_deref().is_some_and(|path| File::open(path).is_ok()), "linux-image-cloud-amd64"),
            (in_path("grub-mkrescue").is_some(), "grub-common"),
            (Path::new(GRUB).is_dir(), "grub-pc-bin"),
            (in_path("xorriso").is_some(), "xorriso"),
            (in_path("mformat").is_some(), "mtools"),
        ];
        let missing: Vec<&str> = present.iter().filter(|(there, _)| !there).map(|(_, package)| *package).collect();
        match (bochs, kernel) {
            (Some(bochs), Some(kernel)) if missing.is_empty() => Ok(Self { bochs, kernel }),
            _ => Err(format!(
                "the emulated processor needs what is not here; on Debian: apt-get install {}\n\
                 (HOLDFAST_BOCHS names another bochs, HOLDFAST_EMULATED_KERNEL another kernel; \
                 see docs/runbooks/emulated-processor.md)",
                missing.join(" ")
            )),
        }
    }

    /// Writes a bootable disc of the kernel and its first file system into `room`.
    pub(super) fn burn(&self, room: &Path, first_files: &[u8]) -> Result<PathBuf, String> {
        let boot = room.join("disc/boot");
        write(&boot.join("files"), first_files)?;
        write(&boot.join("linux"), &read(&self.kernel)?)?;
        let menu = format!("linux /boot/linux {KERNEL_WORDS}\ninitrd /boot/files\nboot\n");
        write(&boot.join("grub/grub.cfg"), menu.as_bytes())?;
        let disc = room.join("disc.iso");
        let made = Command::new("grub-mkrescue")
            .args(["--directory", GRUB, "--fonts=", "--locales=", "--themes="])
            .arg("--install-modules=linux normal iso9660 biosdisk")
            .arg("--output")
            .args([&disc, &room.join("disc")])
            .output()
            .map_err(|error| format!("grub-mkrescue did not start: {error}"))?;
        if made.status.success() {
            return Ok(disc);
        }
        Err(format!("grub-mkrescue failed ({}):\n{}", made.status, String::from_utf8_lossy(&made.stderr)))
    }

    /// Boots the disc, prints what the machine says, and returns the exit code of its tests.
    pub(super) fn boot(&self, room: &Path, disc: &Path) -> Result<i32, String> {
        let mut refused = String::new();
        for display in DISPLAYS {
            let serial = room.join("serial");
            write(&serial, &[])?;
            let screen = room.join("screen");
            let mut running = Running(self.start(room, disc, display, &serial, &screen)?);
            match follow(&serial, &mut running)? {
                Some(said) => return verdict(&said),
                None => refused = String::from_utf8_lossy(&read(&screen)?).into_owned(),
            }
            if !refused.contains("display library") {
                break;
            }
        }
        let log = fs::read_to_string(room.join("log")).unwrap_or_default();
        let last: Vec<&str> = log.lines().chain(refused.lines()).rev().take(30).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        Err(format!("bochs ended before the tests did:\n{}", last.join("\n")))
    }

    fn start(&self, room: &Path, disc: &Path, display: &str, serial: &Path, screen: &Path) -> Result<Child, String> {
        let settings = room.join("bochsrc");
        write(&settings, self.settings(room, disc, display, serial).as_bytes())?;
        let mut command = Command::new(&self.bochs);
        command.arg("-q").arg("-f").arg(&settings);
        if self.has_debugger()? {
            // Debian's is built with its debugger, which waits for a word before the first instruction.
            let words = room.join("debugger");
            write(&words, b"continue\n")?;
            command.arg("-rc").arg(words);
        }
        let screen = File::create(screen).map_err(|error| format!("{} cannot be made: {error}", screen.display()))?;
        let errors = screen.try_clone().map_err(|error| format!("no second handle of a file: {error}"))?;
        command
            .env("TERM", "vt100")
            .stdin(Stdio::null())
            .stdout(screen)
            .stderr(errors)
            .spawn()
            .map_err(|error| format!("{} did not start: {error}", self.bochs.display()))
    }

    fn has_debugger(&self) -> Result<bool, String> {
        let help = Command::new(&self.bochs)
            .arg("--help")
            .output()
            .map_err(|error| format!("{} did not start: {error}", self.bochs.display()))?;
        Ok([help.stdout, help.stderr].iter().any(|text| String::from_utf8_lossy(text).contains("-rc filename")))
    }

    /// Errors and messages stay unlogged: a signal of Bochs's own logs its speed, and waits for ever for the log's lock when
    /// it comes while a line is being written, which unknown registers cause hundreds of times a boot.
    fn settings(&self, room: &Path, disc: &Path, display: &str, serial: &Path) -> String {
        format!(
            "config_interface: textconfig\n\
             display_library: {display}\n\
             romimage: file={BIOS}, options=fastboot\n\
             vgaromimage: file={VGA_BIOS}\n\
             megs: {MEGABYTES}\n\
             cpu: model={MODEL}, count=1, ips={INSTRUCTIONS_A_SECOND}, reset_on_triple_fault=0\n\
             clock: sync=none, time0=1700000000\n\
             ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14\n\
             ata0-master: type=cdrom, path={disc}, status=inserted\n\
             boot: cdrom\n\
             com1: enabled=1, mode=file, dev={serial}\n\
             log: {log}\n\
             panic: action=fatal\nerror: action=ignore\ninfo: action=ignore\ndebug: action=ignore\n",
            disc = disc.display(),
            serial = serial.display(),
            log = room.join("log").display(),
        )
    }
}

/// Ends Bochs however the chore ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only where it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Prints the serial line as it grows. The last line when the tests ended, none when Bochs did.
fn follow(serial: &Path, running: &mut Running) -> Result<Option<String>, String> {
    let started = Instant::now();
    let mut line = File::open(serial).map_err(|error| format!("{} cannot be read: {error}", serial.display()))?;
    let mut said = String::new();
    loop {
        let ended = running.0.try_wait().map_err(|error| format!("bochs cannot be waited for: {error}"))?.is_some();
        let mut fresh = Vec::new();
        line.read_to_end(&mut fresh).map_err(|error| format!("{} cannot be read: {error}", serial.display()))?;
        let fresh = String::from_utf8_lossy(&fresh).replace('\r', "");
        print!("{fresh}");
        std::io::stdout().flush().map_err(|error| format!("standard output cannot be written: {error}"))?;
        said.push_str(&fresh);
        let complete = said.rsplit_once('\n').map_or("", |(lines, _)| lines);
        if let Some(last) = complete.lines().find(|text| text.starts_with(ENDED) || text.starts_with(NOT_RUN)) {
            return Ok(Some(last.to_owned()));
        }
        if ended {
            return Ok(None);
        }
        if started.elapsed() > DEADLINE {
            return Err(format!("the tests did not end in {} minutes: name fewer", DEADLINE.as_secs() / 60));
        }
        std::thread::sleep(GLANCE);
    }
}

fn verdict(last: &str) -> Result<i32, String> {
    match last.strip_prefix(ENDED) {
        Some(code) => code.trim().parse().map_err(|_| format!("expected an exit code, got {code:?}")),
        None => Err(last.strip_prefix(NOT_RUN).unwrap_or(last).to_owned()),
    }
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}

fn newest_kernel() -> Option<PathBuf> {
    let entries = fs::read_dir("/boot").ok()?.flatten();
    let kernels = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("vmlinuz-"));
    kernels.max_by_key(|entry| entry.metadata().and_then(|about| about.modified()).ok()).map(|entry| entry.path())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

fn write(path: &Path, content: &[u8]) -> Result<(), String> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, content));
    made.map_err(|error| format!("{} cannot be written: {error}", path.display()))
}
