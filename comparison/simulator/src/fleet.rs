//! All pods of a run: those that exist, and the records of deleted ones.

use scenario::recording::{Container, Pod as PodRecord};

use crate::plant::{Plant, Start};
use crate::pod::Pod;
use crate::time::{Micros, seconds};

/// A pod and its state in the cluster.
pub(crate) struct Member {
    pub(crate) pod: Pod,
    pub(crate) record: PodRecord,
    /// CPU time of the requests that count.
    pub(crate) worked: Micros,
    pub(crate) start: Start,
    pub(crate) running: bool,
    pub(crate) ready: bool,
    /// Time from running to the first answer through the activator.
    pub(crate) answers: Micros,
    /// The pod receives requests.
    pub(crate) serving: bool,
    /// The pod is terminating. It receives no new requests and finishes those in flight.
    pub(crate) leaving: bool,
    /// When the pod became ready. Scale-down selects pods by it.
    pub(crate) ready_at: Micros,
    /// When its container began to run.
    pub(crate) started_at: Option<Micros>,
    /// Time of the kubelet's last reading, and the CPU time used up to then.
    pub(crate) counted: Option<(Micros, Micros)>,
    /// The reading that metrics-server scraped last.
    pub(crate) scraped: Option<(Micros, Micros)>,
    /// The usage that metrics-server reports, in cores, without the pod's background.
    pub(crate) usage: Option<f64>,
}

/// Pods by number, in the order of their creation, starting at 0.
#[derive(Default)]
pub(crate) struct Fleet {
    /// `None` for a deleted pod, of which only the record is kept. A run of several days creates
    /// many more pods than exist at any time. Loops over the pods must not visit the deleted ones.
    members: Vec<Option<Box<Member>>>,
    live: Vec<u32>,
    records: Vec<PodRecord>,
}

impl Fleet {
    /// Creates a pod without a node. `sidecar` is the CPU request of its sidecar in millicores, if
    /// it has one.
    pub(crate) fn create(
        &mut self,
        pod: Pod,
        memory: f64,
        sidecar: Option<i64>,
        start: Start,
        now: Micros,
    ) -> u32 {
        let id = self.members.len() as u32;
        let at = seconds(now);
        let container = |name: &str, millicores: i64, memory: f64| Container {
            name: name.to_owned(),
            requests: vec![(at, millicores as f64 / 1000.0, memory)],
            ..Container::default()
        };
        let mut containers = vec![container("eye-state", pod.millicores, memory)];
        containers.extend(sidecar.map(|millicores| container("queue-proxy", millicores, 0.0)));
        let record =
            PodRecord { name: format!("pod-{}", id + 1), created_s: at, containers, ..PodRecord::default() };
        self.members.push(Some(Box::new(Member {
            pod,
            record,
            worked: 0,
            start,
            running: false,
            ready: false,
            answers: 0,
            serving: false,
            leaving: false,
            ready_at: Micros::MAX,
            started_at: None,
            counted: None,
            scraped: None,
            usage: None,
        })));
        self.live.push(id);
        self.records.push(PodRecord::default());
        id
    }

    /// A pod, unless it is deleted.
    pub(crate) fn get(&mut self, id: u32) -> Option<&mut Member> {
        self.members[id as usize].as_deref_mut()
    }

    /// A pod that is known to exist. Panics if it is deleted.
    #[inline]
    pub(crate) fn existing(&mut self, id: u32) -> &mut Member {
        self.members[id as usize].as_deref_mut().expect("a pod that is not gone")
    }

    /// All existing pods in the order of their creation.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Member)> {
        self.live.iter().filter_map(|id| Some((*id, self.members[*id as usize].as_deref()?)))
    }

    /// Calls a function with each existing pod.
    pub(crate) fn each(&mut self, mut with: impl FnMut(&mut Member)) {
        for id in &self.live {
            if let Some(member) = self.members[*id as usize].as_deref_mut() {
                with(member);
            }
        }
    }

    /// Number of ready pods that are not terminating.
    pub(crate) fn ready(&self) -> i64 {
        self.iter().filter(|(_, m)| m.ready && !m.leaving).count() as i64
    }

    /// Deletes a pod and keeps its record.
    pub(crate) fn gone(
        &mut self,
        id: u32,
        plant: &Plant,
        counted: [Micros; 2],
        now: Micros,
    ) -> Option<Box<Member>> {
        let mut member = self.members[id as usize].take()?;
        self.live.retain(|other| *other != id);
        member.pod.advance(now);
        member.record.gone_s = Some(seconds(now));
        self.records[id as usize] = member.finished(plant, counted, now);
        Some(member)
    }

    /// The records of all pods.
    pub(crate) fn into_records(
        mut self,
        plant: &Plant,
        counted: [Micros; 2],
        until: Micros,
    ) -> Vec<PodRecord> {
        for id in self.live {
            if let Some(member) = self.members[id as usize].as_deref_mut() {
                self.records[id as usize] = member.finished(plant, counted, until);
            }
        }
        self.records
    }
}

impl Member {
    /// The record of the pod, with the CPU time that it has used in the part that counts.
    fn finished(&mut self, plant: &Plant, counted: [Micros; 2], until: Micros) -> PodRecord {
        let [from, to] = counted.map(seconds);
        let end = self.record.gone_s.unwrap_or(seconds(until)).min(seconds(until)).min(to);
        let lived = (end - self.record.started_s.unwrap_or(end).max(from)).max(0.0);
        self.record.containers[0].core_seconds =
            seconds(self.worked) + lived * plant.background_millicores / 1000.0;
        std::mem::take(&mut self.record)
    }
}
