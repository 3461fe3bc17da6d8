//! `vae-gpu completions`
use super::unless_gone;
use crate::Result;
use clap::Args;
use clap_complete::Shell;

/// Prints what a shell needs to complete commands and options
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    vae-gpu completions bash > ~/.local/share/bash-completion/completions/vae-gpu\n  \
    vae-gpu completions zsh > ~/.zfunc/_vae-gpu\n  \
    vae-gpu completions fish > ~/.config/fish/completions/vae-gpu.fish")]
pub(crate) struct CompletionsArgs {
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs, mut command: clap::Command) -> Result<()> {
    let mut text = vec![];
    clap_complete::generate(args.shell, &mut command, "vae-gpu", &mut text);
    std::io::Write::write_all(&mut std::io::stdout(), &text).or_else(unless_gone)
}
