//! Cases about the connection itself: wrong options, directions that do not exist, secrets.

use std::sync::Arc;

use transload_core::ErrorKind;

use crate::check::{ensure, error_of, error_with_hint};
use crate::fixture::Done;
use crate::suite::{Cases, Ctx};

pub(crate) fn add(cases: &mut Cases) {
    let capability = cases.subject().capability();
    cases.add("connection::descriptor", descriptor);
    cases.add("connection::unknown_option", unknown_option);
    cases.add("connection::secret_is_never_shown", secret_is_never_shown);
    if !capability.source {
        cases.add("connection::source_is_unsupported", source_is_unsupported);
    }
    if !capability.destination {
        cases.add("connection::destination_is_unsupported", destination_is_unsupported);
    }
}

async fn descriptor(ctx: Arc<Ctx>) -> Done {
    let connector = ctx.subject.registry();
    let descriptors = connector.descriptors();
    let descriptor = descriptors.first().ok_or_else(|| crate::Failure::new("no descriptor"))?;
    ensure(!descriptor.label.is_empty(), || "the label is empty".to_owned())?;
    ensure(descriptor.options.get("properties").is_some(), || {
        format!("the options have no schema: {}", descriptor.options)
    })?;
    let connection = ctx.connection()?;
    let known = descriptor.kind == connection.kind() || descriptor.aliases.contains(&connection.kind());
    ensure(known, || format!("type {} is not {}", connection.kind(), descriptor.kind))?;
    Ok(connector.validate(&connection)?)
}

async fn unknown_option(ctx: Arc<Ctx>) -> Done {
    let registry = ctx.subject.registry();
    let connection = ctx.connection()?;
    let odd = connection.clone().option("zzz_not_an_option", 1);
    error_with_hint("an unknown option", registry.validate(&odd), &[ErrorKind::Config])?;
    // A slip of the pen in a known option names that option.
    let options = registry.descriptors().remove(0).options;
    let names = options.get("properties").and_then(|p| p.as_object()).into_iter().flatten();
    let Some((name, _)) = names.max_by_key(|(name, _)| name.len()) else { return Ok(()) };
    let typo = format!("{name}x");
    let error = error_of("a typo", registry.validate(&connection.option(&typo, "1")), &[ErrorKind::Config])?;
    let text = error.to_string();
    ensure(text.contains(&format!("`{name}`")), || format!("`{typo}` should lead to `{name}`: {text}"))
}

/// A password that no server has and no text holds by chance.
const PASSWORD: &str = "hunter2-Zx9!not-a-word";

async fn secret_is_never_shown(ctx: Arc<Ctx>) -> Done {
    let registry = ctx.subject.registry();
    let connection = ctx.connection()?.password(transload_core::Secret::new(PASSWORD));
    let mut shown = vec![format!("{connection:?}"), connection.to_string(), connection.to_json().to_string()];
    let mut opened = Vec::new();
    if ctx.subject.capability().source {
        match registry.source(&connection).await {
            Ok(source) => {
                shown.push(format!("{source:?}"));
                if let Err(error) = source.check().await {
                    opened.push(error);
                }
            }
            Err(error) => opened.push(error),
        }
    }
    if ctx.subject.capability().destination {
        match registry.destination(&connection).await {
            Ok(destination) => {
                shown.push(format!("{destination:?}"));
                if let Err(error) = destination.check().await {
                    opened.push(error);
                }
            }
            Err(error) => opened.push(error),
        }
    }
    for error in &opened {
        shown.extend([error.to_string(), format!("{error:?}"), error.to_json().to_string()]);
    }
    let leak = shown.iter().find(|text| text.contains(PASSWORD));
    ensure(leak.is_none(), || format!("the password is in: {}", leak.map_or("", String::as_str)))
}

async fn source_is_unsupported(ctx: Arc<Ctx>) -> Done {
    let opened = ctx.subject.registry().source(&ctx.connection()?).await;
    error_of("opening as a source", opened, &[ErrorKind::Unsupported]).map(|_| ())
}

async fn destination_is_unsupported(ctx: Arc<Ctx>) -> Done {
    let opened = ctx.subject.registry().destination(&ctx.connection()?).await;
    error_of("opening as a destination", opened, &[ErrorKind::Unsupported]).map(|_| ())
}
