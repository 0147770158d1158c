# The shortest program there is: what its start and end take is the kernel's share of every command's.
.globl _start
_start:
#if defined(__x86_64__)
    mov $60, %eax
    xor %edi, %edi
    syscall
#elif defined(__aarch64__)
    mov x8, #93
    mov x0, #0
    svc #0
#else
#error "write these lines for this CPU"
#endif
