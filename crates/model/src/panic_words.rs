//! What may be told of a panic.

use std::any::Any;

/// The message of a panic, where it stands whole in the program. One that was put together may quote an item, and is not shown.
pub fn panic_words(payload: &(dyn Any + Send)) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or("its message is not shown, for it may quote an item")
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn what_was_put_together_is_not_shown() {
        let words = |panics: fn()| panic_words(&*catch_unwind(panics).expect_err("it panics"));
        assert_eq!(words(|| panic!("a lane without a number")), "a lane without a number");
        let cut = words(|| {
            let _halves = black_box("hunter2 é").split_at(9);
        });
        let told = words(|| panic!("{}", black_box("hunter2")));
        assert!(cut.contains("not shown") && told == cut, "{cut} {told}");
    }
}
