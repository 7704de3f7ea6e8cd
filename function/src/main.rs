//! The function as a process: telemetry, configuration, model, bind, serve, drain.

#![deny(clippy::disallowed_methods)]

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use eye_state::app::{App, Phase};
use eye_state::classifier::Classifier;
use eye_state::config::{Config, EXIT_CONFIG};
use eye_state::server::{self, DrainPolicy, Drained};
use eye_state::telemetry::metrics::{BuildInfo, StartupPhase, process_age};
use eye_state::telemetry::{self, Metrics};
use eye_state::{cpu, memory};
use tokio::signal::unix::{SignalKind, signal};

#[allow(clippy::disallowed_methods, reason = "the one place that starts the runtime and waits for it")]
fn main() -> ExitCode {
    let process = process_age();
    let config = match Config::from_env() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("eye-state: {error}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    let served = server::runtime().context("the async runtime could not be started").and_then(|runtime| {
        let guard = telemetry::init(&config.telemetry, runtime.handle())?;
        let drained = runtime.block_on(serve(config, process))?;
        drop(guard);
        Ok(drained)
    });
    match served {
        Ok(Drained::Completely) => ExitCode::SUCCESS,
        Ok(Drained::TimedOut) => {
            eprintln!("eye-state: stopped with requests unanswered: raise DRAIN_TIMEOUT_MS");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("eye-state: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: Config, process: std::time::Duration) -> anyhow::Result<Drained> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let metadata = Classifier::metadata();
    let build = BuildInfo { model_name: metadata.name, model_version: metadata.version };
    let metrics = Metrics::new(build, &config.telemetry)?;
    metrics.startup(StartupPhase::Process, process);

    // Bound before the model is loaded: early probes get an answer instead of a refused connection.
    let listener = server::listen(config.host, config.port).with_context(|| {
        format!("cannot listen on port {}: is another process there? Set PORT", config.port)
    })?;
    let address = listener.local_addr()?;

    let loading = Instant::now();
    let classifier =
        tokio::task::spawn_blocking(Classifier::load).await.context("the weights could not be taken")?;
    metrics.startup(StartupPhase::Weights, loading.elapsed());
    let app = App::new(&config, classifier.clone(), metrics.clone());

    let ready = {
        let (app, metrics) = (app.clone(), metrics.clone());
        async move {
            let warming = Instant::now();
            tokio::task::spawn_blocking(move || classifier.warm_up())
                .await
                .context("the first inference failed")?;
            metrics.startup(StartupPhase::Warmup, warming.elapsed());
            metrics.startup(StartupPhase::Ready, process_age());
            app.set_phase(Phase::Ready);
            tracing::info!(%address, model = metadata.name, model_version = metadata.version,
                inferences_at_once = app.pool.limit(), "ready");
            Ok::<(), anyhow::Error>(())
        }
    };
    tokio::spawn(async move {
        if let Err(error) = ready.await {
            tracing::error!(%error, "never ready");
            std::process::exit(1);
        }
    });
    let resized = app.clone();
    tokio::spawn(cpu::watch(cpu::allotment(), move |cpus| {
        tracing::info!(cpus, "the CPU allotment changed");
        resized.set_cpus(cpus);
    }));
    let resized = app.clone();
    tokio::spawn(memory::watch(app.memory.container(), move |limit| {
        tracing::info!(limit, "the memory limit changed");
        resized.set_memory(limit);
    }));

    let policy = DrainPolicy {
        delay: config.drain_delay,
        timeout: config.drain_timeout,
        max_connections: config.max_connections,
    };
    let shutdown = async move {
        let name = tokio::select! { _ = terminate.recv() => "SIGTERM", _ = interrupt.recv() => "SIGINT" };
        tracing::info!(signal = name, "asked to stop");
        tokio::spawn(async move {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            tracing::warn!("asked to stop a second time: stopping at once");
            std::process::exit(1);
        });
    };
    let drained = server::run(listener, app, policy, Box::pin(shutdown)).await;
    tracing::info!(?drained, "stopped");
    Ok(drained)
}
