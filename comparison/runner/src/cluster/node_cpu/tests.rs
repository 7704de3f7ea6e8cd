use super::*;

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.0.join(file);
        std::fs::create_dir_all(path.parent().expect("has one")).expect("a folder");
        std::fs::write(path, text).expect("written");
    }

    /// A process with its times in hundredths of a second: own, and of its children.
    fn process(&self, id: u32, name: &str, parent: u32, [own, children]: [u32; 2]) {
        let zeros = "0 ".repeat(9);
        let stat = format!("{id} ({name}) S {parent} {zeros}{own} 0 {children} 0 20 0 1 0 {id}00 0 0\n");
        self.write(&format!("{id}/stat"), &stat);
        self.write(&format!("{id}/cgroup"), "4:cpuacct:/system.slice\n");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn ledger(folder: &Folder, programs: &[&str]) -> Ledger {
    let programs: Vec<String> = programs.iter().map(|p| (*p).to_owned()).collect();
    Ledger::new(&folder.0, &[folder.0.join("groups")], &programs)
}

#[test]
fn components_are_known_by_their_name_unless_they_run_in_a_pod() {
    let folder = Folder::new("components");
    folder.process(10, "kubelet", 1, [300, 0]);
    folder.process(11, "kube-controller", 1, [200, 0]);
    folder.process(12, "kube-apiserver", 1, [1000, 0]);
    folder.write("12/cgroup", "0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-ab.scope\n");
    folder.process(13, "rustc", 1, [5000, 0]);
    folder.process(14, "kworker/0:1 (odd) name", 2, [40, 0]);
    let mut ledger = ledger(&folder, &["kubelet", "kube-controller-manager", "kube-apiserver"]);
    let processes = ledger.processes();
    assert_eq!(processes[&14].name, "kworker/0:1 (odd) name");
    let seconds = ledger.components(processes);
    assert!((seconds - 5.4).abs() < 1e-9, "kubelet, controller manager and kernel: {seconds}");
}

#[test]
fn what_ended_components_used_is_counted_once() {
    let folder = Folder::new("ended");
    folder.process(10, "containerd", 1, [100, 0]);
    folder.process(20, "containerd-shim", 10, [30, 0]);
    folder.process(21, "containerd-shim", 1, [50, 0]);
    let mut ledger = ledger(&folder, &["containerd", "containerd-shim"]);
    let total = |ledger: &mut Ledger| {
        let processes = ledger.processes();
        ledger.components(processes)
    };
    assert!((total(&mut ledger) - 1.8).abs() < 1e-9);
    // Both end. The first one's parent has waited for it; another process gets the second's id.
    std::fs::remove_dir_all(folder.0.join("20")).expect("ended");
    folder.process(10, "containerd", 1, [110, 30]);
    folder.process(21, "rustc", 1, [900, 0]);
    let seconds = total(&mut ledger);
    assert!((seconds - 1.9).abs() < 1e-9, "{seconds}");
    assert!((total(&mut ledger) - 1.9).abs() < 1e-9, "and again");
}

#[test]
fn both_versions_of_control_groups_tell_the_cpu_time_of_all_pods() {
    let folder = Folder::new("groups");
    folder.write("v1/other/cpuacct.usage", "9\n");
    folder.write("v1/kubepods/cpuacct.usage", "2500000000\n");
    folder.write("v1/kubepods/besteffort/cpuacct.usage", "1\n");
    folder.write("v2/kubelet.slice/kubelet-kubepods.slice/cpu.stat", "usage_usec 1500000\nuser_usec 7\n");
    let of = |mount: &str| group_s(&cgroup::find(&folder.0.join(mount), PODS)?);
    assert_eq!((of("v1"), of("v2"), of("none")), (Some(2.5), Some(1.5), None));
}

#[test]
fn busy_is_neither_idle_nor_waiting_nor_what_the_host_took() {
    // The fields of what ran are less than the rest of the time: they are not read.
    let cpus = "cpu0 1 2 3 4 5 6 7 8 9 10\ncpu1 1 2 3 4 5 6 7 8 9 10\n";
    let stat = format!("cpu  100 20 300 9000 800 5 15 7000 0 0\n{cpus}intr 12 0 3\nctxt 4\n");
    assert_eq!(busy_s(&stat, "100.50 90.00\n"), Some(33.0));
    assert_eq!(busy_s("cpu  1 2\n", "100.50 90.00\n"), None);
    assert_eq!(busy_s(&stat, ""), None);
}

/// A shell under another name computes and says by `times` (POSIX) what it and its children used.
#[cfg(target_os = "linux")]
#[test]
fn a_component_and_its_children_are_counted_as_the_shell_counts_itself() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};

    let folder = Folder::new("shell");
    let program = folder.0.join("nv-component");
    std::os::unix::fs::symlink("/bin/sh", &program).expect("linked");
    let script = "f() { i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; }; f; (f); times; read line";
    let mut ledger = Ledger::new(Path::new("/proc"), &[], &["nv-component".to_owned()]);
    let before = ledger.sample().expect("sampled");
    let shell =
        Command::new(&program).args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut shell = shell.expect("a shell");
    let mut output = BufReader::new(shell.stdout.take().expect("piped"));
    let mut said = 0.0;
    for _ in 0..2 {
        let mut line = String::new();
        output.read_line(&mut line).expect("times");
        let seconds =
            |t: &str| Some(t.trim_end_matches('s').split_once('m')?.1.parse::<f64>().expect("seconds"));
        said += line.split_whitespace().filter_map(seconds).sum::<f64>();
    }
    let of = |process: &BTreeMap<u32, Process>, id: u32| process.get(&id).map_or(0.0, |p| p.cpu_s);
    let alive = ledger.sample().expect("sampled");
    let counted = of(&ledger.alive, shell.id());
    assert!(said > 0.05 && (counted - said).abs() < 0.05, "{counted} s, by the shell {said} s");
    // Kernel threads count too, so the sum may have grown by more.
    assert!(alive.components - before.components > said - 0.05);
    assert!(alive.own - before.own > said - 0.05, "and it is a child of this program");
    assert!(alive.busy - before.busy > said - 0.05 && alive.at >= before.at);
    shell.stdin.take().expect("piped").write_all(b"end\n").expect("sent");
    shell.wait().expect("ended");
    assert!(ledger.sample().expect("sampled").components >= alive.components, "kept when it has ended");
}
