#include "tests/host/programs/registers.h"

asm(R"(
	.text
	.globl check_registers
check_registers:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsi, -8(%rsp)
	mov %rdx, -16(%rsp)
	movq $0x1111, -24(%rsp)
	movq $0x2222, -72(%rsp)
	movq $0x3333, -128(%rsp)
	fninit
	fldpi
	fldl2e
	movdqu (%rsi), %xmm0
	movdqu 16(%rsi), %xmm7
	movdqu 32(%rsi), %xmm8
	movdqu 48(%rsi), %xmm15
	test %rdx, %rdx
	jz 1f
	vmovdqu64 (%rsi), %zmm16
	vmovdqu64 64(%rsi), %zmm31
	mov $0x5a5a5a5a, %eax
	kmovw %eax, %k1
1:	mov %rdi, %rcx
	mov $0x0101010101010101, %rax
	mov $0x0202020202020202, %rbx
	mov $0x0303030303030303, %rdx
	mov $0x0505050505050505, %rbp
	mov $0x0606060606060606, %rdi
	mov $0x0808080808080808, %r8
	mov $0x0909090909090909, %r9
	mov $0x0a0a0a0a0a0a0a0a, %r10
	mov $0x0b0b0b0b0b0b0b0b, %r11
	mov $0x0c0c0c0c0c0c0c0c, %r12
	mov $0x0d0d0d0d0d0d0d0d, %r13
	mov $0x0e0e0e0e0e0e0e0e, %r14
	mov $0x0f0f0f0f0f0f0f0f, %r15
	mov $0x7f, %sil
	add $1, %sil
	stc
2:	jrcxz 3f
	lea -1(%rcx), %rcx
	jmp 2b
3:	jno 91f
	jnc 91f
	jns 91f
	jz 91f
	mov $0x0101010101010101, %rsi
	cmp %rsi, %rax
	jne 92f
	add %rsi, %rsi
	cmp %rsi, %rbx
	jne 92f
	add %rax, %rsi
	cmp %rsi, %rdx
	jne 92f
	add %rbx, %rsi
	cmp %rsi, %rbp
	jne 92f
	add %rax, %rsi
	cmp %rsi, %rdi
	jne 92f
	add %rbx, %rsi
	cmp %rsi, %r8
	jne 92f
	add %rax, %rsi
	cmp %rsi, %r9
	jne 92f
	add %rax, %rsi
	cmp %rsi, %r10
	jne 92f
	add %rax, %rsi
	cmp %rsi, %r11
	jne 92f
	add %rax, %rsi
	cmp %rsi, %r12
	jne 92f
	add %rax, %rsi
	cmp %rsi, %r13
	jne 92f
	add %rax, %rsi
	cmp %rsi, %r14
	jne 92f
	add %rax, %rsi
	cmp %rsi, %r15
	jne 92f
	cmpq $0x1111, -24(%rsp)
	jne 93f
	cmpq $0x2222, -72(%rsp)
	jne 93f
	cmpq $0x3333, -128(%rsp)
	jne 93f
	fstpl -32(%rsp)
	mov $0x3ff71547652b82fe, %rax
	cmp %rax, -32(%rsp)
	jne 94f
	fstpl -32(%rsp)
	mov $0x400921fb54442d18, %rax
	cmp %rax, -32(%rsp)
	jne 94f
	mov -8(%rsp), %rsi
	movdqu (%rsi), %xmm1
	pcmpeqd %xmm0, %xmm1
	movdqu 16(%rsi), %xmm2
	pcmpeqd %xmm7, %xmm2
	pand %xmm2, %xmm1
	movdqu 32(%rsi), %xmm2
	pcmpeqd %xmm8, %xmm2
	pand %xmm2, %xmm1
	movdqu 48(%rsi), %xmm2
	pcmpeqd %xmm15, %xmm2
	pand %xmm2, %xmm1
	pmovmskb %xmm1, %eax
	cmp $0xffff, %eax
	jne 95f
	cmpq $0, -16(%rsp)
	je 4f
	kmovw %k1, %eax
	cmp $0x5a5a, %eax
	jne 96f
	vpcmpeqq (%rsi), %zmm16, %k2
	kmovw %k2, %eax
	cmp $0xff, %al
	jne 96f
	vpcmpeqq 64(%rsi), %zmm31, %k2
	kmovw %k2, %eax
	cmp $0xff, %al
	jne 96f
	vzeroupper
4:	xor %eax, %eax
5:	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret
91:	mov $1, %eax
	jmp 5b
92:	mov $2, %eax
	jmp 5b
93:	mov $3, %eax
	jmp 5b
94:	mov $4, %eax
	jmp 5b
95:	mov $5, %eax
	jmp 5b
96:	mov $6, %eax
	jmp 5b

	.globl rseq_increment
rseq_increment:
	lea rseq_section(%rip), %rax
	mov %rax, 8(%rdi)
rseq_start:
	mov (%rsi), %rdx
	mov $300, %ecx
6:	dec %ecx
	jnz 6b
	inc %rdx
	mov %rdx, (%rsi)
rseq_end:
	xor %eax, %eax
	ret
	.long 0x53053053
rseq_abort:
	mov $1, %eax
	ret
	.data
	.balign 32
rseq_section:
	.long 0, 0
	.quad rseq_start, rseq_end - rseq_start, rseq_abort
	.text
)");
