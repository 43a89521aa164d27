//! A route: its method, path, access and handler, and what the API document says of it.

use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use http::Method;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use crate::app::App;
use crate::auth::{Access, guard};
use crate::error::ApiError;

/// A route. It cannot be made without naming who may use it.
pub struct Route {
    /// Its method.
    pub method: Method,
    /// Its path, with parameters in braces.
    pub path: &'static str,
    /// Who may use it.
    pub access: Access,
    /// What it does, in one line.
    pub summary: &'static str,
    /// Query parameters and what they mean.
    pub query: &'static [(&'static str, &'static str)],
    /// What the body of the request is.
    pub takes: Option<Content>,
    /// A request's body that does something, in JSON; empty if there is none to show.
    pub example: &'static str,
    /// What the body of the answer is.
    pub gives: Content,
    /// Every schema that those name.
    pub schemas: Vec<(String, RefOr<Schema>)>,
    handler: MethodRouter<Arc<App>>,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.method, self.path, self.access)
    }
}

/// What a body is.
#[derive(Clone, Debug)]
pub enum Content {
    /// JSON of this schema.
    Json(String),
    /// Something of this media type, described in words.
    Other(&'static str, &'static str),
}

impl Route {
    fn new<H, T>(method: Method, filter: MethodFilter, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        let route = Self {
            method,
            path,
            access,
            summary: "",
            query: &[],
            takes: None,
            example: "",
            gives: Content::Json(String::new()),
            schemas: Vec::new(),
            handler: on(filter, Guarded { access, handler }),
        };
        route.gives::<windlass_model::wire::Msg>()
    }

    /// What it does, in one line.
    pub fn does(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    /// Its query parameters and what they mean.
    pub fn query(mut self, query: &'static [(&'static str, &'static str)]) -> Self {
        self.query = query;
        self
    }

    /// Its request has a body of JSON.
    pub fn takes<T: ToSchema>(mut self) -> Self {
        self.takes = Some(Content::Json(self.schema::<T>()));
        self
    }

    /// Its request has a body that is not described by a schema.
    pub fn takes_other(mut self, media_type: &'static str, words: &'static str) -> Self {
        self.takes = Some(Content::Other(media_type, words));
        self
    }

    /// Its request looks like this, in JSON.
    pub fn like(mut self, example: &'static str) -> Self {
        self.example = example;
        self
    }

    /// Its answer is JSON.
    pub fn gives<T: ToSchema>(mut self) -> Self {
        self.gives = Content::Json(self.schema::<T>());
        self
    }

    /// Its answer is not described by a schema.
    pub fn gives_other(mut self, media_type: &'static str, words: &'static str) -> Self {
        self.gives = Content::Other(media_type, words);
        self
    }

    fn schema<T: ToSchema>(&mut self) -> String {
        let name = T::name().into_owned();
        self.schemas.push((name.clone(), T::schema()));
        T::schemas(&mut self.schemas);
        name
    }
}

/// A route that reads.
pub fn get<H: Handler<T, Arc<App>>, T: 'static>(path: &'static str, access: Access, handler: H) -> Route {
    Route::new(Method::GET, MethodFilter::GET, path, access, handler)
}

/// A route that makes or does something.
pub fn post<H: Handler<T, Arc<App>>, T: 'static>(path: &'static str, access: Access, handler: H) -> Route {
    Route::new(Method::POST, MethodFilter::POST, path, access, handler)
}

/// A route that changes something.
pub fn put<H: Handler<T, Arc<App>>, T: 'static>(path: &'static str, access: Access, handler: H) -> Route {
    Route::new(Method::PUT, MethodFilter::PUT, path, access, handler)
}

/// A route that changes the fields that are given.
pub fn patch<H: Handler<T, Arc<App>>, T: 'static>(path: &'static str, access: Access, handler: H) -> Route {
    Route::new(Method::PATCH, MethodFilter::PATCH, path, access, handler)
}

/// A route that removes something.
pub fn delete<H: Handler<T, Arc<App>>, T: 'static>(path: &'static str, access: Access, handler: H) -> Route {
    Route::new(Method::DELETE, MethodFilter::DELETE, path, access, handler)
}

/// All routes.
pub fn mount(routes: Vec<Route>) -> Router<Arc<App>> {
    routes.into_iter().fold(Router::new(), |router, route| router.route(route.path, route.handler))
}

/// A handler with its guard in front of it.
///
/// One function rather than a layer, which would box and clone a service for every request.
#[derive(Clone)]
struct Guarded<H> {
    access: Access,
    handler: H,
}

impl<H: Handler<T, Arc<App>>, T> Handler<(Access, T), Arc<App>> for Guarded<H> {
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, app: Arc<App>) -> Self::Future {
        // What was done must be said, however large the answer; what was only read can be read again.
        let is_read = request.method() == Method::GET;
        Box::pin(async move {
            let response = match guard(&app, self.access, request).await {
                Ok(request) => self.handler.call(request, app.clone()).await,
                Err(error) => return error.into_response(),
            };
            if !is_read {
                return response;
            }
            app.answers.hold_whole(response).await.unwrap_or_else(ApiError::into_response)
        })
    }
}
