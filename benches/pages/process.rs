//! Memory as the system sees it.

/// What a process takes of the machine's memory (`VmRSS`), in bytes.
pub fn resident_bytes(id: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("this is Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
    kibibytes.expect("a process has a resident size") * 1024
}
