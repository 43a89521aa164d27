//! The task of one zone: fetches its page and turns it into data.

use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    forecast::{self, Forecast},
    http,
    layout::{Layout, ZoneId},
    task::{Task, conclude},
};

/// The payload of a zone's task.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// Which zone.
    pub zone: ZoneId,
    /// The site that has its page.
    pub site: Layout,
}

/// Runs one zone as this process's task.
pub fn main() -> ExitCode {
    let task = Task::from_env();
    let run = || {
        let order = task.payload()?;
        let forecast = run(&order)?;
        task.save_result(&forecast)?;
        Ok(summary(&order.zone, &forecast))
    };
    conclude("outcast-zone", run())
}

/// Fetches and reads the page of one zone. It is not tried again here: that is what the platform's retries are for.
///
/// # Errors
///
/// When there is no page, or it is not this zone's forecast.
pub fn run(order: &Order) -> Result<Forecast, Error> {
    let url = order.site.page(&order.zone);
    let page = http::fetch(&url)?;
    match forecast::parse(&page) {
        Ok(forecast) if forecast.zones.contains(&order.zone.to_string()) => Ok(forecast),
        Ok(forecast) => Err(Error::WrongZone { url, found: forecast.zones.join(", ") }),
        Err(source) => Err(Error::Page { url, source }),
    }
}

/// One line for the task's log.
fn summary(zone: &ZoneId, forecast: &Forecast) -> String {
    let Forecast { name, periods, headlines, expires_at, .. } = forecast;
    let count = periods.len();
    let headlines: String = headlines.iter().map(|headline| format!("; {headline}")).collect();
    format!("{zone} {name}: {count} periods, good until {expires_at}{headlines}")
}
