//! Services that are killed, on each backend: what was answered is there afterwards, and nothing
//! is without an owner.

mod keyed;
mod load;
mod points;
mod prompts;
mod rare;
mod silent;
mod start;
mod world;
mod writes;

use agentd_host::testing::{TestBackend, leave_out};
use agentd_orchestrator::CrashPoint;
use futures_util::future::join_all;

use crate::program::crashing_program;
use world::World;

/// The world of a backend; none, with the reason printed, where its tool is missing.
fn world(backend: Result<TestBackend, String>) -> Option<World> {
    match backend {
        Ok(backend) => Some(World::new(backend, crashing_program)),
        Err(missing) => {
            leave_out(&missing);
            None
        }
    }
}

/// The points that are come to by a way of their own (`silent.rs`, `rare.rs`, `prompts.rs`).
const RARE: usize = 11;

/// All points but the rare ones, of which this backend does not have so many.
async fn killed_at_each_point(backend: Result<TestBackend, String>, missing: usize) {
    let Some(world) = world(backend) else {
        return;
    };
    let mut reached = 0;
    for point in CrashPoint::ALL {
        reached += usize::from(points::killed_at(*point, &world).await);
    }
    assert_eq!(reached, CrashPoint::ALL.len() - RARE - missing);
    world.clear(&world.start()).await;
}

async fn killed_under_load(backend: Result<TestBackend, String>, rounds: u64) {
    let Some(world) = world(backend) else {
        return;
    };
    for number in 0..rounds {
        load::round(&world, number).await;
    }
    world.clear(&world.start()).await;
}

#[tokio::test]
async fn killed_at_each_point_on_pty() {
    // Nothing is adopted.
    killed_at_each_point(Ok(TestBackend::pty()), 3).await;
}

#[tokio::test]
async fn killed_at_each_point_with_a_keeper() {
    // Nothing that a keeper has is missing.
    killed_at_each_point(Ok(TestBackend::kept()), 1).await;
}

#[tokio::test]
async fn killed_at_each_point_on_tmux() {
    killed_at_each_point(TestBackend::tmux(), 0).await;
}

#[tokio::test]
async fn killed_at_each_point_on_docker() {
    killed_at_each_point(TestBackend::docker(), 0).await;
}

async fn killed_during_a_keyed_create(backend: Result<TestBackend, String>) {
    use CrashPoint::*;
    let Some(world) = world(backend) else {
        return;
    };
    for point in [CreateBegun, CreateRecorded, CreateStarted, CreateNoted] {
        keyed::killed_at(point, &world).await;
    }
    for point in [CreateFailed, CreateForgotten] {
        keyed::killed_in_vain_at(point, &world).await;
    }
}

#[tokio::test]
async fn killed_during_a_keyed_create_on_pty() {
    killed_during_a_keyed_create(Ok(TestBackend::pty())).await;
}

#[tokio::test]
async fn killed_during_a_keyed_create_with_a_keeper() {
    killed_during_a_keyed_create(Ok(TestBackend::kept())).await;
}

#[tokio::test]
async fn killed_during_a_keyed_create_on_tmux() {
    killed_during_a_keyed_create(TestBackend::tmux()).await;
}

#[tokio::test]
async fn killed_during_a_keyed_create_on_docker() {
    killed_during_a_keyed_create(TestBackend::docker()).await;
}

async fn killed_at_each_write_of_a_keyed_create(backend: Result<TestBackend, String>) {
    let Some(world) = world(backend) else {
        return;
    };
    for point in [CrashPoint::DatabaseWritten, CrashPoint::DatabaseCommitted] {
        let killed = keyed::killed_at_each_write(point, &world).await;
        // That the agent is wanted, and that it runs, with the answer.
        assert!(killed >= 2, "{point:?}: {killed}");
    }
}

#[tokio::test]
async fn killed_at_each_write_of_a_keyed_create_on_pty() {
    killed_at_each_write_of_a_keyed_create(Ok(TestBackend::pty())).await;
}

#[tokio::test]
async fn killed_at_each_write_of_a_keyed_create_on_tmux() {
    killed_at_each_write_of_a_keyed_create(TestBackend::tmux()).await;
}

#[tokio::test]
async fn killed_at_each_write_of_a_keyed_create_on_docker() {
    killed_at_each_write_of_a_keyed_create(TestBackend::docker()).await;
}

#[tokio::test]
async fn killed_at_each_write_of_a_keyed_token() {
    let world = world(Ok(TestBackend::pty())).unwrap();
    for point in [
        CrashPoint::DatabaseWritten,
        CrashPoint::DatabaseCommitted,
        CrashPoint::DatabaseSynced,
    ] {
        let killed = keyed::killed_while_a_token_is_made(point, &world).await;
        assert!(killed > 0, "{point:?}");
    }
}

async fn killed_while_output_is_kept(backend: Result<TestBackend, String>) {
    let Some(world) = world(backend) else {
        return;
    };
    for point in [CrashPoint::OutputTaken, CrashPoint::OutputKept] {
        rare::killed_at_the_end(point, &world).await;
    }
}

#[tokio::test]
async fn killed_while_output_is_kept_on_pty() {
    killed_while_output_is_kept(Ok(TestBackend::pty())).await;
}

#[tokio::test]
async fn killed_while_output_is_kept_with_a_keeper() {
    killed_while_output_is_kept(Ok(TestBackend::kept())).await;
}

#[tokio::test]
async fn killed_while_output_is_kept_on_tmux() {
    killed_while_output_is_kept(TestBackend::tmux()).await;
}

#[tokio::test]
async fn killed_while_output_is_kept_on_docker() {
    killed_while_output_is_kept(TestBackend::docker()).await;
}

/// Each point on a backend of its own, all at the same time: most of it is waiting.
async fn killed_during_a_deletion(
    points: [CrashPoint; 2],
    backend: fn() -> Result<TestBackend, String>,
) {
    let killed = points.map(async |point| {
        if let Some(world) = world(backend()) {
            silent::killed_during_a_deletion(point, &world).await;
        }
    });
    join_all(killed).await;
}

const FAILING: [CrashPoint; 2] = [CrashPoint::DeleteFailed, CrashPoint::DeleteKept];
const BY_FORCE: [CrashPoint; 2] = [CrashPoint::DeleteAbandoning, CrashPoint::DeleteAbandoned];

#[tokio::test]
async fn killed_during_a_deletion_that_fails_with_a_keeper() {
    killed_during_a_deletion(FAILING, || Ok(TestBackend::kept())).await;
}

#[tokio::test]
async fn killed_during_a_deletion_that_fails_on_tmux() {
    killed_during_a_deletion(FAILING, TestBackend::tmux).await;
}

#[tokio::test]
async fn killed_during_a_deletion_that_fails_on_docker() {
    killed_during_a_deletion(FAILING, TestBackend::docker).await;
}

#[tokio::test]
async fn killed_during_a_deletion_by_force_with_a_keeper() {
    killed_during_a_deletion(BY_FORCE, || Ok(TestBackend::kept())).await;
}

#[tokio::test]
async fn killed_during_a_deletion_by_force_on_tmux() {
    killed_during_a_deletion(BY_FORCE, TestBackend::tmux).await;
}

#[tokio::test]
async fn killed_during_a_deletion_by_force_on_docker() {
    killed_during_a_deletion(BY_FORCE, TestBackend::docker).await;
}

async fn killed_while_it_repairs(backend: Result<TestBackend, String>) {
    let Some(world) = world(backend) else {
        return;
    };
    silent::killed_at_the_end_of_what_nobody_owns(&world).await;
    for point in [CrashPoint::OverlookedFound, CrashPoint::OverlookedPlanned] {
        silent::killed_while_a_restart_is_planned(point, &world).await;
    }
}

#[tokio::test]
async fn killed_while_it_repairs_with_a_keeper() {
    killed_while_it_repairs(Ok(TestBackend::kept())).await;
}

#[tokio::test]
async fn killed_while_it_repairs_on_tmux() {
    killed_while_it_repairs(TestBackend::tmux()).await;
}

#[tokio::test]
async fn killed_while_it_repairs_on_docker() {
    killed_while_it_repairs(TestBackend::docker()).await;
}

#[tokio::test]
async fn killed_at_each_write_of_a_stop_a_restart_and_a_deletion() {
    let world = world(Ok(TestBackend::kept())).unwrap();
    let mut killed = 0;
    for point in [
        CrashPoint::DatabaseWritten,
        CrashPoint::DatabaseCommitted,
        CrashPoint::DatabaseSynced,
    ] {
        for request in writes::Request::ALL {
            killed += writes::killed_at_each(point, request, &world).await;
        }
    }
    assert!(killed > 0, "none of them was under way");
}

#[tokio::test]
async fn killed_under_load_on_pty() {
    killed_under_load(Ok(TestBackend::pty()), 5).await;
}

#[tokio::test]
async fn killed_under_load_with_a_keeper() {
    killed_under_load(Ok(TestBackend::kept()), 5).await;
}

#[tokio::test]
async fn killed_under_load_on_tmux() {
    killed_under_load(TestBackend::tmux(), 5).await;
}

#[tokio::test]
async fn killed_under_load_on_docker() {
    killed_under_load(TestBackend::docker(), 3).await;
}
