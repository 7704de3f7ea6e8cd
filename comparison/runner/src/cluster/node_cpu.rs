//! CPU time of the node by whose it is, where this program runs on the node: of everything, of
//! pods, of the node's own components and of this program, from the kernel (proc(5), proc_stat(5),
//! proc_uptime(5), cgroups(7)).
//!
//! All four are read in the same moment. cAdvisor's samples are up to 15 s old instead, and pods
//! that start together would look for that long like something else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use super::{cgroup, clock};

/// Time between samples: some in each of the means that are made of them (`others::WINDOW_S`),
/// each of which takes a few milliseconds.
const EVERY: Duration = Duration::from_secs(5);
/// Units of CPU time in /proc per second (USER_HZ on Linux).
const TICKS_PER_S: f64 = 100.0;
/// Longest name of a process that the kernel keeps (TASK_COMM_LEN without the zero).
const NAME_MOST: usize = 15;
/// The parent of all kernel threads, which work for whoever called.
const KTHREADD: u32 = 2;
/// Group of all pods, and part of the path of each: `kubepods`, `kubepods.slice`.
const PODS: &str = "kubepods";
/// Where control groups with CPU time are mounted: version 1's controller, and version 2.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup"];

/// CPU seconds so far.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Seconds since 1970.
    pub at: f64,
    /// Of everything.
    pub busy: f64,
    /// Of all pods, deleted ones included.
    pub pods: f64,
    /// Of the node's components outside of pods and of the kernel's threads.
    pub components: f64,
    /// Of this program and its children.
    pub own: f64,
}

/// Samples on a thread of its own until it is finished.
pub struct NodeCpu {
    stop: Sender<()>,
    samples: JoinHandle<Vec<Sample>>,
}

impl NodeCpu {
    /// Starts with a first sample; `programs` are the names of the node's components. `None` if
    /// the pods' group is not found here: their time would look like that of others.
    pub fn start(programs: &[String]) -> Option<Self> {
        let mut ledger = Ledger::new(Path::new("/proc"), &MOUNTS.map(PathBuf::from), programs);
        ledger.pods.as_ref()?;
        let (stop, stopped) = channel();
        let samples = std::thread::spawn(move || {
            let mut samples = vec![];
            loop {
                samples.extend(ledger.sample());
                if stopped.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
                    samples.extend(ledger.sample());
                    return samples;
                }
            }
        });
        Some(Self { stop, samples })
    }

    /// All samples, the last one of now.
    pub fn finish(self) -> Vec<Sample> {
        let _ = self.stop.send(());
        self.samples.join().unwrap_or_default()
    }
}

/// Adds up what processes used that may have ended meanwhile.
struct Ledger {
    proc: PathBuf,
    pods: Option<PathBuf>,
    programs: Vec<String>,
    own: u32,
    /// The components that were there at the last sample.
    alive: BTreeMap<u32, Process>,
    /// CPU time of those that ended.
    ended: f64,
}

/// A line of /proc/PID/stat.
#[derive(Debug, Clone, PartialEq)]
struct Process {
    name: String,
    parent: u32,
    /// Tells a process from a later one with its id.
    started: u64,
    /// With that of the children that it waited for.
    cpu_s: f64,
}

impl Ledger {
    fn new(proc: &Path, mounts: &[PathBuf], programs: &[String]) -> Self {
        let cut = |name: &String| name.chars().take(NAME_MOST).collect();
        Self {
            proc: proc.to_owned(),
            pods: mounts.iter().find_map(|m| cgroup::find(m, PODS).filter(|g| group_s(g).is_some())),
            programs: programs.iter().map(cut).collect(),
            own: std::process::id(),
            alive: BTreeMap::new(),
            ended: 0.0,
        }
    }

    fn sample(&mut self) -> Option<Sample> {
        let processes = self.processes();
        let own = processes.iter().filter(|(id, p)| **id == self.own || p.parent == self.own);
        let own = own.map(|(_, p)| p.cpu_s).sum();
        Some(Sample {
            at: clock::unix(SystemTime::now()),
            busy: busy_s(&self.read("stat")?, &self.read("uptime")?)?,
            pods: self.pods.as_deref().and_then(group_s).unwrap_or_default(),
            components: self.components(processes),
            own,
        })
    }

    fn read(&self, file: &str) -> Option<String> {
        std::fs::read_to_string(self.proc.join(file)).ok()
    }

    fn processes(&self) -> BTreeMap<u32, Process> {
        let entries = std::fs::read_dir(&self.proc).into_iter().flatten().flatten();
        let ids = entries.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
        let read = |id| Some((id, parse(&self.read(&format!("{id}/stat"))?)?));
        ids.filter_map(read).collect()
    }

    /// CPU time of the node's components so far.
    fn components(&mut self, processes: BTreeMap<u32, Process>) -> f64 {
        let is_component = |(id, process): &(u32, Process)| {
            process.parent == KTHREADD
                || self.programs.contains(&process.name) && *id != self.own && !self.in_a_pod(*id)
        };
        let now: BTreeMap<u32, Process> = processes.into_iter().filter(is_component).collect();
        for (id, process) in &self.alive {
            let ended = now.get(id).is_none_or(|p| p.started != process.started);
            // A component that started it has waited for it, and has its time by now.
            if ended && !now.contains_key(&process.parent) {
                self.ended += process.cpu_s;
            }
        }
        self.alive = now;
        self.ended + self.alive.values().map(|p| p.cpu_s).sum::<f64>()
    }

    /// A control plane may run as pods, whose time is counted there.
    fn in_a_pod(&self, id: u32) -> bool {
        self.read(&format!("{id}/cgroup")).is_some_and(|text| text.contains(PODS))
    }
}

/// Of proc_pid_stat(5): name (2), parent (4), user, system and children's times (14 to 17), start
/// (22). The name may contain spaces and parentheses.
fn parse(stat: &str) -> Option<Process> {
    let (head, tail) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = tail.split_whitespace().collect();
    let ticks = fields.get(11..15)?.iter().map(|t| t.parse::<f64>().ok()).sum::<Option<f64>>()?;
    Some(Process {
        name: head.split_once('(')?.1.to_owned(),
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
        cpu_s: ticks / TICKS_PER_S,
    })
}

/// All CPUs' time since the start without that of proc_stat(5)'s first line in which they idled,
/// waited for a disk, or were the host's (steal).
///
/// The sum of its other fields is less: without `CONFIG_VIRT_CPU_ACCOUNTING` they have what ran at
/// each timer tick, and much of what a timer wakes ends before the next tick. How long a CPU
/// idles is measured.
fn busy_s(stat: &str, uptime: &str) -> Option<f64> {
    let mut lines = stat.lines().take_while(|line| line.starts_with("cpu"));
    let fields: Vec<f64> = lines.next()?.split_whitespace().skip(1).map_while(|f| f.parse().ok()).collect();
    let of = |i: usize| fields.get(i).copied();
    let cpus = lines.count() as f64;
    let up = uptime.split_whitespace().next()?.parse::<f64>().ok()?;
    Some(cpus * up - (of(3)? + of(4)? + of(7)?) / TICKS_PER_S)
}

/// CPU time of a control group: `cpu.stat` in microseconds (version 2), `cpuacct.usage` in
/// nanoseconds (version 1).
fn group_s(group: &Path) -> Option<f64> {
    let read = |file: &str| std::fs::read_to_string(group.join(file)).ok();
    if let Some(nanos) = read("cpuacct.usage") {
        return Some(nanos.trim().parse::<f64>().ok()? / 1e9);
    }
    let text = read("cpu.stat")?;
    let micros = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
    Some(micros.trim().parse::<f64>().ok()? / 1e6)
}

#[cfg(test)]
mod tests;
