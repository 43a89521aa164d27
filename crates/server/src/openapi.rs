//! The API document, made of the routes as they are mounted.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathItem, PathsBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ComponentsBuilder, ObjectBuilder, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Required, ResponseBuilder, Schema,
};

use windlass_model::project::Scope;

use crate::auth::Access;
use crate::route::{Content, Route};

/// The document as JSON. Made when it is first asked for.
pub static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let document = document(&crate::router::routes());
    document.to_pretty_json().expect("the document is plain data")
});

/// The document of `routes`.
pub fn document(routes: &[Route]) -> OpenApi {
    let mut paths = PathsBuilder::new();
    let mut components = ComponentsBuilder::new()
        .security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    let mut seen = BTreeSet::new();
    for route in routes {
        paths = paths.path(route.path, PathItem::new(method(&route.method), operation(route)));
        for (name, schema) in &route.schemas {
            if seen.insert(name.clone()) {
                components = components.schema(name.clone(), schema.clone());
            }
        }
    }
    let info = InfoBuilder::new().title("Windlass").version(env!("CARGO_PKG_VERSION")).description(Some(
        "The IronWorker v2 API and what Windlass adds to it. Every success is a 200; every error is `{\"msg\": …}`.",
    ));
    OpenApiBuilder::new().info(info.build()).paths(paths).components(Some(components.build())).build()
}

fn operation(route: &Route) -> OperationBuilder {
    let mut operation = OperationBuilder::new()
        .summary(Some(route.summary))
        .description(Some(format!("Access: {}.", route.access)))
        .tag(section(route));
    for name in parameters(route.path) {
        operation = operation.parameter(
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .schema(Some(ObjectBuilder::new().schema_type(Type::String))),
        );
    }
    for (name, meaning) in route.query {
        operation = operation.parameter(
            ParameterBuilder::new()
                .name(*name)
                .parameter_in(ParameterIn::Query)
                .required(Required::False)
                .description(Some(*meaning))
                .schema(Some(ObjectBuilder::new().schema_type(Type::String))),
        );
    }
    if let Some(takes) = &route.takes {
        let (media_type, words, mut content) = content(takes);
        content.example = serde_json::from_str(route.example).ok();
        let body = RequestBodyBuilder::new().description(words).content(media_type, content);
        operation = operation.request_body(Some(body.build()));
    }
    let (media_type, words, content) = content(&route.gives);
    let answer = ResponseBuilder::new().description(words.unwrap_or("Done")).content(media_type, content);
    operation = operation.response("200", answer.build());
    if route.access == Access::Open {
        return operation;
    }
    operation.security(SecurityRequirement::new("token", Vec::<String>::new()))
}

fn content(content: &Content) -> (&'static str, Option<&'static str>, utoipa::openapi::Content) {
    let (media_type, words, schema) = match content {
        Content::Json(name) => ("application/json", None, RefOr::Ref(Ref::from_schema_name(name))),
        Content::Other(media_type, words) => {
            let any = RefOr::T(Schema::Object(ObjectBuilder::new().build()));
            (*media_type, Some(*words), any)
        }
    };
    (media_type, words, ContentBuilder::new().schema(Some(schema)).build())
}

fn method(method: &http::Method) -> HttpMethod {
    match *method {
        http::Method::POST => HttpMethod::Post,
        http::Method::PUT => HttpMethod::Put,
        http::Method::PATCH => HttpMethod::Patch,
        http::Method::DELETE => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

/// Names of the parameters in a path.
pub(crate) fn parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

/// What a reader would look under for the route.
pub(crate) fn section(route: &Route) -> &'static str {
    let mut words = route.path.split('/').filter(|s| !s.is_empty() && *s != "2" && !s.starts_with('{'));
    match (words.next(), words.next()) {
        _ if route.access == Access::Root(Scope::Runner) => "Runner protocol",
        (Some("projects"), Some("codes")) => "Code packages",
        (Some("projects"), Some("tasks")) => "Tasks",
        (Some("projects"), Some("schedules")) => "Schedules",
        (Some("projects"), Some("usage")) => "Compute time",
        (Some("projects" | "tokens"), _) => "Projects and tokens",
        (Some("clusters" | "runners"), _) => "Clusters and runners",
        _ => "The server",
    }
}
