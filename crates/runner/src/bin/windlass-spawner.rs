//! The spawner process alone, for tests and for programs that embed a runner.

fn main() -> std::process::ExitCode {
    windlass_runner::spawner::main()
}
