//! A realistic day in a minute: most people read, some talk, some read slowly, some come and go.

use super::{CONNECT_PATIENCE_S, PREPARE_RATE, messages};
use crate::cast::Cast;
use crate::cli::Mixed;
use crate::plan::{Acks, Lane, What, Who};
use crate::report::Section;
use crate::schedule::{Dice, Shape};
use crate::stage::Stage;
use crate::trial::Doing;

/// Of the users, the share that talks.
const CHATTERS: f64 = 0.2;
/// Bytes a second a slow reader takes.
const SLOW_BYTES: u32 = 2_000;
/// Seconds before the day that count for nothing.
const WARM_UP_S: f64 = 1.0;

pub fn mixed(stage: &mut Stage, options: &Mixed) -> anyhow::Result<Section> {
    let mut dice = Dice::fork(stage.seed(), 4);
    let cast = society(stage, options, &mut dice)?;
    // Those who come and go do not talk: what waits for their return is no latency of the server's.
    let roams = |number: u32| number % 20 == 7;
    let chatter = |number: u32| f64::from(number % 100) < CHATTERS * 100.0 && !roams(number);
    let slow = cast.slow.len();
    let lanes: Vec<Lane> = cast
        .lanes()
        .into_iter()
        .filter(|(number, _)| chatter(*number))
        .collect();
    let manner = stage.manner(Acks::Every { ms: 1000 });
    let title = format!("{} users, a day of {} s", options.users, options.seconds);
    let mut trial = stage.begin("mixed", &title, cast, manner)?;
    trial.section.set("users", options.users);
    trial.section.set("slow readers", slow);
    trial.section.set("rate", options.rate);
    trial.connect(&Who::All, PREPARE_RATE, CONNECT_PATIENCE_S)?;
    let day = Shape::Day {
        seconds: options.seconds + WARM_UP_S,
    };
    let come_and_go: Vec<u32> = (0..options.users as u32).filter(|number| roams(*number)).collect();
    let doing = [
        (
            What::Send {
                lanes: lanes.clone(),
                random: true,
            },
            options.rate,
        ),
        (What::Typing { lanes: lanes.clone() }, options.rate / 4.0),
        (What::React { lanes: lanes.clone() }, options.rate / 20.0),
        (What::History { lanes }, options.rate / 20.0),
        (
            What::Reconnect {
                clients: come_and_go,
                away_ms: (50, 3000),
            },
            options.users as f64 / 200.0,
        ),
    ];
    let doing = doing.map(|(what, rate)| Doing { what, rate, shape: day });
    let measured = trial.measure(WARM_UP_S, options.seconds, doing.into())?;
    messages(&mut trial, &measured);
    let counts = measured.window.counts;
    let section = &mut trial.section;
    section.figure("reconnects", counts.connects as f64, "", "during the day");
    section.figure("updates", counts.updates as f64, "", "reactions received");
    section.figure(
        "gapped",
        counts.gapped as f64,
        "",
        "messages named by a gap in place of being replayed",
    );
    trial.finish()
}

/// Everybody is in a group of a hundred and in some small ones, has a few friends, and one group has everybody.
fn society(stage: &mut Stage, options: &Mixed, dice: &mut Dice) -> anyhow::Result<Cast> {
    let mut cast = Cast::default();
    let users = options.users as u32;
    stage.sign_up(&mut cast, options.users)?;
    stage.groups_of(&mut cast, 0..users, 100)?;
    let mut order: Vec<u32> = (0..users).collect();
    for size in [5, 12] {
        dice.shuffle(&mut order);
        for members in order.chunks(size).filter(|members| members.len() > 1) {
            stage.group(&mut cast, members.to_vec())?;
        }
    }
    for friendship in 0..users / 2 {
        let (a, b) = (friendship * 2, friendship * 2 + 1);
        cast.add_direct(a, b);
    }
    stage.group(&mut cast, (0..users.min(1000)).collect())?;
    let slow = (options.users as f64 * options.slow) as u32;
    // Slow readers are among the silent, so that what they miss is not their own.
    cast.slow = (0..slow)
        .map(|n| (n * 97 % users, SLOW_BYTES))
        .filter(|(number, _)| number % 100 >= 20)
        .collect();
    cast.slow.sort_unstable();
    cast.slow.dedup();
    Ok(cast)
}
