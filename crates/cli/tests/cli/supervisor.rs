//! What README.md gives to a supervisor.

/// A start that finds no database ends within a second: five of them, and systemd would give up by its defaults.
#[test]
fn the_unit_for_systemd_never_gives_up() {
    let readme = include_str!("../../../../README.md");
    let (_, unit) = readme.split_once("# systemd\n").expect("README.md has a unit");
    let (unit, _) = unit.split_once("```").expect("it ends");
    let (of_unit, of_service) = unit.split_once("[Service]").expect("it has a service");
    for (section, line) in [
        (of_unit, "StartLimitIntervalSec=0"),
        (of_service, "Restart=on-failure"),
        (of_service, "RestartSec=5"),
        (of_service, "RestartPreventExitStatus=2 4 5"),
    ] {
        assert!(section.lines().any(|has| has == line), "{line}");
    }
}
