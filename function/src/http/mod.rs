//! The HTTP room: routes, and what each of them answers. Knows nothing of tensors.

mod body;
mod classify;
mod negotiate;
mod page;
mod reply;

use std::convert::Infallible;
use std::sync::Arc;

use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};
use warp::{Filter, Rejection};

use crate::app::{App, Phase};
use crate::classifier::Classifier;
use crate::error::RequestError;

/// Every route of the function.
pub fn routes(app: Arc<App>) -> BoxedFilter<(Response,)> {
    let page = page::render(Classifier::metadata().license, app.source_url.as_deref());
    let shared = {
        let app = Arc::clone(&app);
        warp::any().map(move || Arc::clone(&app))
    };
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let classify = warp::path::end()
        .or(warp::path!("classify"))
        .unify()
        .and(warp::post())
        .and(shared.clone())
        .and(warp::header::headers_cloned())
        .and(query)
        .and(warp::body::stream())
        .then(|app: Arc<App>, headers, query: String, body| async move {
            classify::handle(&app, headers, &query, body).await
        });
    let livez = warp::path!("livez").and(read()).map(|| text(StatusCode::OK, "ok\n"));
    let readyz =
        warp::path!("readyz").and(read()).and(shared.clone()).map(|app: Arc<App>| readiness(app.phase()));
    let metrics = warp::path!("metrics").and(read()).and(shared).map(|app: Arc<App>| metrics(&app));
    let samples = warp::path!("samples").and(read()).map(page::sample_list);
    let sample = warp::path!("samples" / String).and(read()).map(|name: String| page::sample(&name));
    let part = warp::path!("page" / String).and(read()).map(|name: String| page::part(&name));
    let page = warp::path::end().and(read()).map(move || page::page(page.clone()));

    livez
        .or(readyz)
        .unify()
        .or(classify)
        .unify()
        .or(metrics)
        .unify()
        .or(page)
        .unify()
        .or(part)
        .unify()
        .or(samples)
        .unify()
        .or(sample)
        .unify()
        .recover(recover)
        .unify()
        .boxed()
}

/// GET, and HEAD, whose body the server leaves out.
fn read() -> impl Filter<Extract = (), Error = Rejection> + Clone {
    warp::get().or(warp::head()).unify()
}

fn readiness(phase: Phase) -> Response {
    match phase {
        Phase::Starting => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Phase::Ready => text(StatusCode::OK, "ready\n"),
        Phase::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

fn metrics(app: &App) -> Response {
    match app.metrics.render() {
        Ok(text) => reply::bytes(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be rendered");
            reply::problem(&RequestError::Internal, None)
        }
    }
}

fn text(status: StatusCode, text: &'static str) -> Response {
    reply::bytes(status, "text/plain; charset=utf-8", text)
}

/// What warp itself refuses. Handlers never reject, so that no error falls through to another route.
async fn recover(rejection: Rejection) -> Result<Response, Infallible> {
    let error = if rejection.is_not_found() {
        RequestError::NotFound
    } else if rejection.find::<warp::reject::MethodNotAllowed>().is_some() {
        RequestError::MethodNotAllowed
    } else {
        RequestError::BadRequest
    };
    Ok(reply::problem(&error, None).into_response())
}
