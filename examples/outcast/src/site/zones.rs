//! The 472 zones of the site, office by office.

use super::office::{OFFICES, Office};

/// How many zones the site has: as many as the weather app of the story read.
pub const ZONE_COUNT: usize = 472;

/// One marine zone of the site.
#[derive(Debug, Clone)]
pub struct Zone {
    /// Its id, such as `ANZ230`.
    pub id: String,
    /// Its name, such as `Boston Harbor`.
    pub name: String,
    pub(super) is_sheltered: bool,
    pub(super) office: &'static Office,
}

/// All zones in the order of the index.
pub(super) fn zones() -> Vec<Zone> {
    let mut zones = Vec::with_capacity(ZONE_COUNT);
    for office in &OFFICES {
        let numbers = office.first_number..;
        let sheltered = office.sheltered.iter().map(|name| ((*name).to_owned(), true));
        let open = office.bands.iter().flat_map(|band| {
            office.points.windows(2).map(move |ends| (format!("{} to {} {band}", ends[0], ends[1]), false))
        });
        zones.extend(numbers.zip(sheltered.chain(open)).map(|(number, (name, is_sheltered))| Zone {
            id: format!("{}{number:03}", office.family),
            name,
            is_sheltered,
            office,
        }));
    }
    zones
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::forecast::title_case;

    #[test]
    fn there_are_472_zones_with_their_own_ids_and_names() {
        let zones = zones();
        assert_eq!(zones.len(), ZONE_COUNT);
        assert_eq!(zones.iter().map(|zone| &zone.id).collect::<HashSet<_>>().len(), ZONE_COUNT);
        assert_eq!(zones.iter().map(|zone| &zone.name).collect::<HashSet<_>>().len(), ZONE_COUNT);
    }

    #[test]
    fn every_name_survives_upper_case() {
        for zone in zones() {
            assert_eq!(title_case(&zone.name.to_uppercase()), zone.name);
        }
    }
}
